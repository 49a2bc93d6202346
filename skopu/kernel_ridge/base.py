"""What the regressor and the classifier share: from rows to a readout, and to predictions."""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skopu._core.callbacks import CallbackSupportMixin
from skopu._core.chunks import CHUNK_ROWS, Portions, row_chunks
from skopu._core.documented import Documented
from skopu._core.parts import PartsMixin, resolve_part
from skopu._core.places import find_place, is_tensor, place_of, rows_of, to_host
from skopu._core.random import draw_seeds
from skopu._core.rows import distinct_rows
from skopu._core.validation import HasMethods, Interval, StrOptions, validate_data
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices.registry import DEVICES
from skopu.kernel_ridge.alpha import CHOICES, Alpha
from skopu.kernel_ridge.dual import KERNEL_NAMES, MAX_EXACT_ROWS, KernelMap, fit_dual
from skopu.kernel_ridge.importances import set_importances, slopes_of_ridge
from skopu.kernel_ridge.inputs import (
    FeatureMap,
    fit_device_map,
    fit_fourier_map,
    rows_at_a_time,
)
from skopu.kernel_ridge.origin import is_opu_features, warn_of_lost_features
from skopu.kernel_ridge.sums import RidgeSums
from skopu.kernel_ridge.unsolved import keep_rows
from skopu.ridge.normal_equations import GRAMS
from skopu.ridge.systems import WideSystem

_OF_SOME_FITS = [
    "coef_",
    "readout_coef_",
    "dual_coef_",
    "loo_error_",
    "feature_importances_",
    "_equations_",
    "_posterior_",
]


@dataclass(eq=False, repr=False)
class OPURidge(CallbackSupportMixin, PartsMixin, Documented):
    """Parameters and training common to both.

    A subclass has ``_check_rows``, which validates rows and makes targets of y.
    """

    _part_names = ("opu", "binarizer")
    _carried = ("_unsolved",)
    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like", StrOptions(CHOICES)],
        "alphas": ["array-like", None],
        "kernel": [StrOptions({"auto", "opu", "precomputed"} | KERNEL_NAMES), callable],
        "gamma": [Interval(Real, 0, None, closed="left"), None],
        "degree": [Interval(Real, 0, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "kernel_params": [dict, None],
        "kernel_approximation": [StrOptions({"auto", "fourier"}), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "opu": [str, HasMethods(["project"]), None],
        "binarizer": [HasMethods(["fit", "transform"]), None],
        "fit_intercept": ["boolean"],
        "gram": [StrOptions(set(GRAMS))],
        "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
        "torch_device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    alpha: object = "loo"
    _: KW_ONLY
    alphas: object = None
    kernel: str = "auto"
    gamma: object = None
    degree: int = 3
    coef0: float = 1
    kernel_params: object = None
    kernel_approximation: str = "auto"
    n_components: int = 1024
    opu: object = "simulated"
    binarizer: object = None
    fit_intercept: bool = True
    gram: str = "auto"
    chunk_size: object = None
    torch_device: str = "cpu"
    random_state: object = None
    verbose: int = 0

    def _make_part(self, name):
        if name == "opu":
            return resolve_part(self.opu, DEVICES, "opu")
        return self._default_binarizer()

    def _default_binarizer(self):
        return SupervisedBinarizer(verbose=self.verbose, torch_device=self.torch_device)

    def _fit(self, X, y, Y, weights):
        """Fit to validated rows; a binarizer learns from ``y``, the readout from ``Y`` (n, q)."""
        self._fit_checked(X, y, Y, weights)
        set_importances(self, slopes_of_ridge(self), X, Y, weights)

    def _fit_checked(self, X, y, Y, weights):
        alpha = self._alpha(Y.shape[1])
        rows = np.flatnonzero(weights > 0)
        if self._is_exact(len(rows)):
            self._fit_kernel(to_host(X), Y, weights, alpha)
            return
        if alpha.is_chosen and not is_tensor(X):
            # Leaving one row out must leave out its repetitions.
            rows, weights = distinct_rows(X, Y, weights)
        else:
            weights = weights[rows]
        if _on_disk(X):
            order = np.argsort(rows)
            rows, weights = rows[order], weights[order]
        if len(rows) == len(Y) and (np.diff(rows) == 1).all():
            rows = slice(len(rows))  # of which parts are views
        self._fit_map(X, y, weights, rows)
        self._fit_features(X, Y, weights, rows, alpha)

    def _fit_features(self, X, Y, weights, rows, alpha):
        """Fit to the features of ``X[rows]``; ``weights`` are those of these rows."""
        if len(weights) < self._map().n_columns(X):
            few = self._map().transform(rows_of(X, rows)), Y[rows], weights
            self._keep_rows(few)
            self._publish(alpha.solve(WideSystem(*few, self.fit_intercept)))
        else:
            self._fit_rows(X, Y, weights, rows, alpha)

    def _fit_kernel(self, X, Y, weights, alpha):
        """Fit in the dual, to the exact kernel."""
        self.kernel_approximation_, self._kernel_params_ = None, self._kernel_params()
        if not self._is_precomputed():
            self.X_fit_ = X
        self._publish(fit_dual(self._map(), X, Y, weights, alpha, self.fit_intercept))

    def _is_exact(self, n_rows=None):
        """Whether the kernel is computed as it is, for that many rows (None: many)."""
        if self.kernel_ != "rbf":
            return self.kernel_ not in ("opu", "linear")
        if self.kernel_approximation == "auto":
            return n_rows is not None and n_rows <= MAX_EXACT_ROWS
        return self.kernel_approximation is None

    def _fit_map(self, X, y, weights, rows=slice(None)):
        """Fit what makes features to ``X[rows]``; ``weights``, all positive, are theirs."""
        seed_binarizer, seed_features = draw_seeds(self.random_state, 2)
        made, self.kernel_approximation_ = FeatureMap(None, None), None
        find_place(self.torch_device)  # says before any work that there is no card
        if self.kernel_ == "rbf":
            self.kernel_approximation_ = "fourier"
            made = fit_fourier_map(X, self.gamma, self.n_components, seed_features)
        elif self.kernel_ == "opu":
            self.kernel_approximation_ = "opu"
            if self.kernel != "opu":
                warn_of_lost_features(X)
            binarizer = self._default_binarizer() if self.binarizer is None else self.binarizer
            device = self.opu, self.gamma, self.n_components
            made = fit_device_map(X, y, weights, rows, *device, binarizer, seed_binarizer)
        self.binarizer_, self.features_, _ = made

    def _fit_rows(self, X, Y, weights, rows, alpha):
        """Fit to the features of ``X[rows]``; those that fit a chunk are made once."""
        made, n_rows = self._map(), len(weights)
        max_rows = self._rows_at_a_time(made, X)

        def make_pieces():
            return made.pieces(X, Y, weights, max_rows, rows)

        kept = list(make_pieces()) if n_rows <= max_rows else None
        sums = self._sums().add(make_pieces() if kept is None else kept, n_rows)
        reread = sums.rereading(make_pieces if kept is None else lambda: kept)
        self._publish(sums.solve(alpha, reread, kept))

    def _fit_ready(self, Phi, Y, weights):
        """Fit to features (m, D) of distinct rows that the caller has made and checked.

        For models that end in a ridge readout: no second validation, and no second order.
        """
        self._take_as_it_is(Phi)
        self._fit_features(Phi, Y, weights, slice(None), self._alpha(Y.shape[1]))

    def _fit_leaving_out(self, Phi, Y, weights):
        """``_fit_ready``, and return predictions (m, q) of each row by readouts without it."""
        self._take_as_it_is(Phi)
        alpha = self._alpha(Y.shape[1])
        place = find_place(self.torch_device)
        rows = place.put(Phi) if place.is_card else Phi, Y, weights
        solution, predictions = alpha.leave_out(*rows, self.fit_intercept, self.gram)
        self._publish(solution)
        return predictions

    def _take_as_it_is(self, Phi):
        self.kernel_, self.kernel_approximation_ = "linear", None
        self.binarizer_ = self.features_ = None
        self.n_features_in_ = Phi.shape[1]

    def _fit_first(self, X, y, weights):
        """Fit what makes features to a first chunk."""
        self._fit_map(X, y, weights)

    def _map(self):
        """Return what makes of validated rows what the readout is applied to."""
        if not self._has_dual():
            return FeatureMap(self.binarizer_, self.features_, find_place(self.torch_device))
        return KernelMap(self.kernel_, self._kernel_params_, getattr(self, "X_fit_", None))

    def _kernel_params(self):
        if callable(self.kernel):
            return dict(self.kernel_params or {})
        params = {"degree": self.degree, "coef0": self.coef0}
        # Without a gamma each kernel has its own default, where None is an error to "chi2".
        return params if self.gamma is None else {"gamma": self.gamma, **params}

    def _has_dual(self):
        return self.kernel_approximation_ is None and self.kernel_ != "linear"

    def _rows_at_a_time(self, made, X):
        """Rows of X of which ``made`` may make features at a time."""
        place, n_columns = made.place_for(X), made.n_columns(X)
        return rows_at_a_time(n_columns, self.gram, self.chunk_size, place)

    def _sums(self, equations=None):
        settings = self.gram, self.fit_intercept, self.verbose
        return RidgeSums(*settings, equations, keep=self._keep_rows)

    def _keep_rows(self, rows):
        keep_rows(self, rows, _OF_SOME_FITS)

    def _decision(self, X):
        """Readout (n, q) of X."""
        check_is_fitted(self)
        return self._read_out(self._validate(X, reset=False))

    def _read_out(self, X):
        """Readout (n, q) of validated X, a chunk of rows at a time."""
        made, readout, place = self._map(), self._readout_, place_of(X)
        decision = place.empty((X.shape[0], len(readout.intercept)), "float64")

        def read(rows):
            decision[rows] = place.put(readout.predict(made.transform(X[rows])))

        there, n_columns = made.place_for(X), len(readout.coef)
        max_rows = rows_at_a_time(n_columns, self.gram, self.chunk_size, there)
        portions = Portions(there, max_rows if there.is_card else min(max_rows, CHUNK_ROWS))
        portions.run(read, slice(0, X.shape[0]))
        return decision

    def _read_out_with_std(self, X):
        """Readout (n, q) of validated X, and the standard deviations of new targets.

        The features are made once for both.
        """
        posterior = getattr(self, "_posterior_", None)
        if posterior is None:
            raise ValueError(
                f"return_std=True needs what a fit with compute_std=True keeps: fit this "
                f"{type(self).__name__} with it."
            )
        if self._is_precomputed():
            raise ValueError(
                "return_std=True needs the kernel of each row with itself, which a matrix of "
                "kernels with the fitted rows does not hold: give the kernel by name or function."
            )
        made, means, variances = self._map(), [], []
        n_columns, there = len(self._readout_.coef), made.place_for(X)
        max_rows = rows_at_a_time(n_columns, self.gram, self.chunk_size, there)
        for rows in row_chunks(X.shape[0], max_rows):
            Phi = to_host(made.transform(X[rows]))
            own = made.with_itself(X[rows]) if self._has_dual() else None
            means.append(self._readout_.predict(Phi))
            variances.append(posterior.variances(Phi, own))
        return np.concatenate(means), np.sqrt(np.concatenate(variances))

    def _publish(self, solution):
        """Set what a fit ends with; ``_is_flat_`` drops the axis of targets."""
        for name in _OF_SOME_FITS:
            # After a partial_fit that began anew, an earlier fit must not show through.
            vars(self).pop(name, None)
        self._readout_, self.alpha_ = solution.readout, solution.alpha
        if solution.posterior is not None:
            self._posterior_ = solution.posterior
        if solution.error is not None:
            self.loo_error_ = solution.error
        (coef, intercept), flat = solution.readout, self._is_flat_
        if self._has_dual():
            self.dual_coef_ = coef[:, 0] if flat else coef
        else:
            # Tools that select columns read coef_, so that those of features have another name.
            name = "coef_" if self.kernel_ == "linear" else "readout_coef_"
            setattr(self, name, coef[:, 0] if flat else coef.T)
        self.intercept_ = float(intercept[0]) if flat else intercept

    def _resolve_kernel(self, X):
        """Set ``kernel_``; to be called before validation, which makes a plain array of X."""
        self.kernel_ = self.kernel
        if isinstance(self.kernel, str) and self.kernel == "auto":
            self.kernel_ = "linear" if is_opu_features(X) else "opu"

    def _validate(self, X, *y, **options):
        """Validate input for ``kernel_``; a kernel matrix must be dense, and square in ``fit``."""
        precomputed = self._is_precomputed()
        options |= {"accept_sparse": False if precomputed else "csr", "dtype": "numeric"}
        checked = validate_data(self, X, *y, takes_tensors=not precomputed, **options)
        if y and precomputed and checked[0].shape[0] != checked[0].shape[1]:
            raise ValueError(
                f"kernel='precomputed' needs the square kernel matrix of the rows, got shape "
                f"{checked[0].shape}: compute it first, for example opu_kernel(X)."
            )
        return checked

    def _is_precomputed(self):
        return isinstance(self.kernel_, str) and self.kernel_ == "precomputed"

    def _alpha(self, n_targets):
        return Alpha(self.alpha, self.alphas, n_targets, getattr(self, "compute_std", False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        precomputed = isinstance(self.kernel, str) and self.kernel == "precomputed"
        tags.input_tags.sparse = not precomputed
        tags.input_tags.pairwise = precomputed
        return tags


def _on_disk(X):
    """Whether an array is, or is a view of, a memory-mapped file."""
    while X is not None and not isinstance(X, np.memmap):
        X = getattr(X, "base", None)
    return X is not None
