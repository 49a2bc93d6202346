"""What the regressor and the classifier share: joint training and the three predictions."""

from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.documented import Documented
from skopu._core.fitting import say_what_is_kept
from skopu._core.parts import PartsMixin
from skopu._core.random import draw_seeds
from skopu._core.validation import (
    REAL,
    Interval,
    StrOptions,
    validate_data,
    validate_params,
)
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.end_to_end.averaging import MeanFeatures, mean_over_draws
from skopu.end_to_end.draws import Draws, check_choice, first_draws
from skopu.exceptions import DeviceFault, IncompatiblePartsError, PassBudgetError
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.kernel_ridge.importances import set_importances, slopes_of_codes
from skopu.kernel_ridge.readout_form import form_of_readout

_MAX_FREE_COMPONENTS = 4096
# What a training that it ends leaves something to go on from.
_KEEPING = DeviceFault, PassBudgetError, KeyboardInterrupt
# The mean has no variance, but at a price of zero nothing would keep that of the codes bounded.
_KAPPA_OF_MEAN = 0.1


@dataclass
class _Job:
    """A fit in progress, and what the next one needs to go on if it is cut short.

    ``fingerprint`` tells whether the next fit is of the same rows and features.
    """

    binarizer: SupervisedBinarizer
    seeds: list
    fingerprint: str
    is_trained: bool = False
    features: OPURandomFeatures | None = None
    probabilities: np.ndarray | None = None
    draws: Draws | None = None


@dataclass(eq=False, repr=False)
class EndToEnd(PartsMixin, Documented):
    """Parameters, training and readout common to both."""

    _part_names = ("binarizer", "features", "ridge")
    _carried = ("_unfinished",)
    _parameter_constraints = {
        "binarizer": [SupervisedBinarizer, None],
        "features": [OPURandomFeatures, None],
        "ridge": [None],  # and the class of the readout, which the subclasses name
        "prediction": [StrOptions({"draws", "threshold", "mean"})],
        "n_draws": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    binarizer: object = None
    features: object = None
    ridge: object = None
    _: KW_ONLY
    prediction: str = "draws"
    n_draws: object = 10
    warm_start: bool = False
    random_state: object = None
    verbose: int = 0

    def _make_part(self, name):
        if name == "binarizer":
            return SupervisedBinarizer()
        if name == "ridge":
            return self._ridge_class(alpha="loo", kernel="linear")
        # Features follow a binarizer given alone, otherwise it follows them.
        binarizer = SupervisedBinarizer() if self.binarizer is None else self.binarizer
        return OPURandomFeatures(self._n_components(binarizer), opu=binarizer.opu)

    def _n_components(self, binarizer):
        """Return the binarizer's, or for a mean, which takes no pass, enough for every form."""
        if self.prediction != "mean":
            return binarizer.n_components
        n_forms = binarizer.n_bits * (binarizer.n_bits + 1) // 2
        limit = getattr(binarizer.opu, "max_components", None) or _MAX_FREE_COMPONENTS
        return max(binarizer.n_components, min(n_forms, limit, _MAX_FREE_COMPONENTS))

    def _part(self, name):
        given = getattr(self, name)
        part = self._make_part(name) if given is None else clone(given)
        validate_params(part)
        return part

    @contextmanager
    def _fit_parts(self, rows):
        """Train on ``Rows``; set the fitted parts, the ridge among them to be fitted within.

        The rows go all the way as they are: every step has a private method that neither
        validates nor orders them again, and one open device serves training and features. What
        the device has answered by then is kept whatever ends the fit, the ridge's part included.

        Yields
        ------
        Phi : ndarray of shape (m, D)
            Features of the rows, for the ridge.
        """
        features, self.ridge_ = self._part("features"), self._part("ridge")
        self.ridge_.set_params(kernel="linear")
        self.ridge_._alpha(rows.Y.shape[1])  # whose check must not come after the passes
        if self._chooses_draws():
            check_choice(self.ridge_)
        job = self._take_up(self._fingerprint(rows, features))
        self._configure(job.binarizer, features, job.seeds[0])
        n_passes = self._n_passes_of_readout(features, len(rows.weights), first_draws(self.n_draws))
        try:
            self._train(job, rows, features.opu, n_passes)
            Phi = self._final_features(job, features, rows.X)
            self.binarizer_, self.features_ = job.binarizer, job.features
            self._set_draws(job, len(Phi))
            self.n_iter_, self.history_ = job.binarizer.n_iter_, job.binarizer.history_
            self._unfinished = job  # until the fit has ended: Ctrl-C may come after the readout
            yield Phi
        except BaseException as error:
            if job.is_trained or isinstance(error, _KEEPING):
                self._unfinished = job
                say_what_is_kept(error, self)
            raise

    def _set_draws(self, job, n_rows):
        self.thresholds_ = job.draws.thresholds
        self.n_passes_ = job.binarizer.n_passes_ + self._n_passes(job, n_rows)

    def _n_passes(self, job, n_rows):
        return self._n_passes_of_readout(job.features, n_rows, len(job.draws.thresholds))

    def _fit_ridge(self, Phi, *rows):
        """Fit the last step to what it takes, and keep the form that predictions are made by."""
        result, job = self.ridge_._fit_last(Phi, *rows), self._unfinished
        while job.draws.are_too_few(self.ridge_, job.features.opu_, self._n_passes(job, len(Phi))):
            Phi = job.draws.double(job.features, job.probabilities)
            self._set_draws(job, len(Phi))
            result = self.ridge_._fit_last(Phi, *rows)
        self._readout_form_ = None
        if self.prediction == "mean" or self._is_computed():
            self._readout_form_ = self._form_of_readout()
        return result

    def _chooses_draws(self):
        return self.n_draws == "auto" and self.prediction == "draws"

    def _weigh_columns(self, rows, Y):
        """Set ``feature_importances_`` if the device's matrix is known; Y (m, q) of the ridge."""
        slopes = slopes_of_codes(self.binarizer_, self.features_, self.ridge_._readout_)
        set_importances(self, slopes, rows.X, Y, rows.weights)

    def _take_up(self, fingerprint):
        """Return the job of this fit: one that was cut short, or a new one."""
        job, binarizer = getattr(self, "_unfinished", None), self._part("binarizer")
        if not self.warm_start:
            return _Job(binarizer, draw_seeds(self.random_state, 2), fingerprint)
        if job is None:
            if hasattr(self, "binarizer_"):
                binarizer._go_on_from(self.binarizer_, is_whole=True)
            return _Job(binarizer, draw_seeds(self.random_state, 2), fingerprint)
        if job.is_trained and job.fingerprint == fingerprint:
            return job
        binarizer._go_on_from(job.binarizer, is_whole=job.is_trained)
        return _Job(binarizer, job.seeds, fingerprint)

    def _fingerprint(self, rows, features):
        """Hash of what the features of a fit are made of, beside the encoder."""
        mode = self.prediction, self.n_draws, features.n_components, features.form
        return joblib.hash([rows.X, rows.Y, rows.weights, mode])

    def _train(self, job, rows, device, n_passes):
        """Train the encoder, and leave ``n_passes`` of a budget for the readout."""
        if job.is_trained:
            return
        if hasattr(self, "feature_names_in_"):
            job.binarizer.feature_names_in_ = self.feature_names_in_
        with device.reserving(n_passes):
            job.binarizer._train(rows, self._loss, device)
        # One that was cut short gives a readout now, but is completed by the next fit if another
        # Ctrl-C ends this one.
        job.is_trained = not job.binarizer._unfinished.was_cut

    def _final_features(self, job, features, X):
        """Features (m, D) that the ridge is fitted to."""
        job.features = self._fit_features(features, job.binarizer)
        job.probabilities = job.binarizer._probabilities(X)
        if job.draws is None:
            n_draws = self.n_draws if self._chooses_draws() else first_draws(self.n_draws)
            job.draws = Draws(n_draws, job.binarizer.n_bits, job.seeds[1])
        if self.prediction == "mean":
            return job.features.expectation(job.probabilities)
        thresholds = self._used_thresholds(job.draws.thresholds)
        return job.draws.features(job.features, job.probabilities, thresholds)

    def _n_passes_of_readout(self, features, n_rows, n_draws):
        draws = {"mean": 0, "threshold": 1, "draws": n_draws}
        return 0 if features.form == "exact" else n_rows * draws[self.prediction]

    def _configure(self, binarizer, features, seed):
        """Open the device, make the binarizer train for the features, and check the sizes."""
        # Gradient estimators load torch.
        from skopu.gradients import resolve_gradient

        device = features._open(binarizer.n_bits)
        self._check_device(device, features)
        self._check_gamma(features, binarizer.n_bits, device)
        features.set_params(opu=device, binarize=None)
        binarizer.set_params(
            n_components=max(1, features.n_components - features._n_free()),
            opu=device,
            loss=self._loss,
            warm_start=self.warm_start,
            verbose=max(self.verbose, binarizer.verbose),
        )
        device.check_size(binarizer.n_bits, binarizer.n_components)
        if isinstance(features.gamma, str):
            binarizer.set_params(learn_gamma=features.gamma_per)
        if binarizer.objective == "auto" and not resolve_gradient(binarizer.gradient).uses_device:
            binarizer.set_params(objective=self._kappa())
        if binarizer.random_state is None:
            binarizer.set_params(random_state=seed)

    def _check_gamma(self, features, n_bits, device):
        if not isinstance(features.gamma, str):
            features._fit_bits(n_bits, device)  # refuses an array of another length
        elif features.form == "exact" and features.gamma_per == "feature":
            raise IncompatiblePartsError(
                "gamma='learn' with gamma_per='feature' learns one factor for each component of "
                "the device, and form='exact' has products of bits instead: use "
                "gamma_per='scalar', or form='centered'."
            )

    def _fit_features(self, features, binarizer):
        """Return fitted features, with the gamma that the binarizer learned if one was asked."""
        if isinstance(features.gamma, str):
            gamma = binarizer.gamma_
            if np.ndim(gamma) == 1:
                # The last is that of the popcount, which raw features do not have.
                n_features = features.n_components
                gamma = gamma[:n_features] if features.form == "raw" else gamma[-n_features:]
            features.set_params(gamma=gamma)
        return features._fit_bits(binarizer.n_bits, features.opu)

    def _kappa(self):
        """Price of the variance that suits the prediction: the share that is left of it."""
        if self.prediction == "mean":
            return _KAPPA_OF_MEAN
        return 1.0 if self.prediction == "threshold" else 1 / first_draws(self.n_draws)

    def _check_device(self, device, features):
        if self.prediction != "mean" or features.form == "exact" or device.known_matrix:
            return
        raise IncompatiblePartsError(
            f"prediction='mean' needs the matrix of the device, and that of "
            f"{type(device).__name__} is unknown: use prediction='draws' or 'threshold', or "
            "measure it by skopu.devices.calibrate."
        )

    def _mean_features(self, probabilities):
        """Average the features that the readout sees over draws, (n, D)."""
        thresholds = self._used_thresholds(self.thresholds_)
        return MeanFeatures().of(self.features_, probabilities, thresholds)

    def _used_thresholds(self, thresholds):
        return np.full((1, 1), 0.5) if self.prediction == "threshold" else thresholds

    def _outputs(self, X):
        """Return what the ridge says (n, q) of X, a chunk of rows at a time."""
        probabilities = self._probabilities(X)
        n_draws = len(self.thresholds_)
        n_passes = self._n_passes_of_readout(self.features_, len(probabilities), n_draws)
        if n_passes:
            self.features_.opu_.check_passes(n_passes)
        read_out = self._average_readout
        if self.prediction == "mean":
            read_out = self._form_of_readout().mean
        elif self._is_computed():
            read_out = partial(self._compute_draws, self._form_of_readout())
        return np.concatenate(
            [read_out(probabilities[rows]) for rows in row_chunks(len(probabilities))]
        )

    def _probabilities(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=REAL)
        return self.binarizer_._probabilities(X)

    def _form_of_readout(self):
        """Return the readout as a form of the bits, which means and draws are predicted by."""
        if self._readout_form_ is not None:
            return self._readout_form_
        self._check_device(self.features_.opu_, self.features_)
        return form_of_readout(self.features_, self.ridge_._readout_)

    def _is_computed(self):
        """Whether predictions of draws are computed: not from features, which cost D / k more."""
        return self.prediction == "draws" and self.features_.opu_.computable

    def _compute_draws(self, form, probabilities):
        if self.features_.form != "exact":
            self.features_.opu_.count_passes(len(probabilities) * len(self.thresholds_))
        return mean_over_draws(form, probabilities, self.thresholds_)

    def _average_readout(self, probabilities):
        return self.ridge_._read_out(self._mean_features(probabilities))

    def to_pipeline(self) -> Pipeline:
        """Return the fitted parts as a pipeline of one pass per row.

        Returns
        -------
        pipeline : Pipeline
            Steps "binarizer", "features" and "ridge", already fitted. Its ``predict`` is
            what this model predicts after ``set_params(prediction="threshold")``, to the last
            bit. For a readout fitted to such codes, fit with ``prediction="threshold"``.
        """
        check_is_fitted(self)
        parts = ("binarizer", "features", "ridge")
        return Pipeline([(name, getattr(self, f"{name}_")) for name in parts])
