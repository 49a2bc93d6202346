"""The base of all estimators and parts: scikit-learn's, with the way to this documentation."""

from sklearn.base import BaseEstimator

# Rooms whose classes are public under the room's own name.
_PUBLIC_ROOMS = ("devices", "gradients", "penalties")


class Documented(BaseEstimator):
    """What notebooks show of it links to its page."""

    _doc_link_module = "skopu"
    _doc_link_template = "https://skopu.readthedocs.io/en/latest/generated/{page}.html"

    def _doc_link_url_param_generator(self):
        kind = type(self)
        room = kind.__module__.split(".")[1]
        place = ["skopu", room] if room in _PUBLIC_ROOMS else ["skopu"]
        return {"page": ".".join([*place, kind.__name__])}
