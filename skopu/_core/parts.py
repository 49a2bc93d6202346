"""Parts given by name or as an object: resolving them, and setting their parameters."""

from difflib import get_close_matches

from sklearn.base import clone


def resolve_part(value, registry, argument):
    """Return a fresh part for ``value``: a clone of an object, or the one of that name.

    Parameters
    ----------
    value : str, object or None
        None stands for the first name of the registry.
    registry : dict of str to callable
        Accepted names and what makes the part.
    argument : str
        Name of the constructor argument, for the error message.

    Raises
    ------
    ValueError
        If the name is unknown; the message gives the nearest valid name and all names.
    """
    if value is None:
        value = next(iter(registry))
    if not isinstance(value, str):
        return clone(value)
    if value in registry:
        return registry[value]()
    near = get_close_matches(value.lower(), registry, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{argument}={value!r} is not known.{hint} Accepted names: "
        f"{', '.join(map(repr, registry))}; or pass an object of your own."
    )


class PartsMixin:
    """Let ``set_params`` reach into a part that is still given by name or by None.

    A default such as ``gradient="loo"`` is a plain value, so that constructors only store.
    Setting ``gradient__n_draws=8`` then needs an object to hold the value: the one that the
    name stands for takes its place.
    """

    _part_names: tuple[str, ...] = ()

    def _make_part(self, name):
        """Return the object that parameter ``name``, a string or None, stands for."""
        raise NotImplementedError  # a class that names parts makes them

    def set_params(self, **params):
        """Set parameters, nested ones with a double underscore.

        Parameters
        ----------
        **params : dict
            For example ``gradient__n_draws=8``.

        Returns
        -------
        self : object
        """
        named = {key: value for key, value in params.items() if "__" not in key}
        super().set_params(**named)
        nested = {key: value for key, value in params.items() if "__" in key}
        for part in {key.partition("__")[0] for key in nested}:
            held = getattr(self, part, None)
            if part in self._part_names and (held is None or isinstance(held, str)):
                setattr(self, part, self._make_part(part))
        return super().set_params(**nested)
