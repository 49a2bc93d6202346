"""What the regressor and the classifier share: joint training and the three predictions."""

from dataclasses import dataclass, field
from numbers import Integral

import joblib
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skopu._core.chunks import row_chunks
from skopu._core.parts import PartsMixin
from skopu._core.random import dither, draw_seeds
from skopu._core.rows import merge_repeated_rows
from skopu._core.validation import HasMethods, Interval, StrOptions, validate_params
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.devices import resolve_device
from skopu.end_to_end.averaging import MeanFeatures
from skopu.exceptions import DeviceFault, IncompatiblePartsError, PassBudgetError
from skopu.kernel_ridge.features import OPURandomFeatures

_MAX_FREE_COMPONENTS = 4096
# The mean has no variance, but at a price of zero nothing would keep that of the codes bounded.
_KAPPA_OF_MEAN = 0.1


@dataclass
class _Job:
    """A fit in progress, and what the next one needs to go on if it is cut short.

    ``fingerprint`` tells whether the next fit is of the same rows and features.
    """

    binarizer: SupervisedBinarizer
    seeds: list
    is_trained: bool = False
    features: OPURandomFeatures | None = None
    thresholds: np.ndarray | None = None
    means: MeanFeatures = field(default_factory=MeanFeatures)
    fingerprint: str | None = None


class EndToEnd(PartsMixin, BaseEstimator):
    """Parameters, training and readout common to both."""

    _part_names = ("binarizer", "features", "ridge")
    _parameter_constraints = {
        "binarizer": [HasMethods(["fit", "bit_probabilities"]), None],
        "features": [HasMethods(["fit", "transform", "expectation"]), None],
        "ridge": [None],  # and the class of the readout, which the subclasses name
        "prediction": [StrOptions({"draws", "threshold", "mean"})],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        binarizer=None,
        features=None,
        ridge=None,
        *,
        prediction="draws",
        n_draws=10,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.binarizer = binarizer
        self.features = features
        self.ridge = ridge
        self.prediction = prediction
        self.n_draws = n_draws
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

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
        return self._make_part(name) if given is None else clone(given)

    def _fit_parts(self, X, checked, targets, labels, weights):
        """Set the fitted parts; return what the ridge was fitted to.

        X is as the user gave it: the binarizer validates it again and learns the names of its
        columns. ``targets`` is what the encoder learns from, ``labels`` what the ridge is
        fitted to. Returns the features of the distinct rows, where these stand in X, and
        their weights: leaving one out must leave out its repetitions.
        """
        binarizer, features = self._part("binarizer"), self._part("features")
        facts = [checked, targets, weights, self.prediction, self.n_draws]
        facts += [features.n_components, features.form]
        job = self._take_up(binarizer, facts)
        self._configure(job.binarizer, features, job.seeds[0])
        matrix = targets.reshape(len(targets), -1).astype(np.float64)
        *_, row_weights, kept = merge_repeated_rows(checked, matrix, weights)
        try:
            self._train(job, features.opu, X, targets, weights, len(kept))
            Phi = self._final_features(job, features, X, kept)
        except (DeviceFault, PassBudgetError, KeyboardInterrupt) as error:
            job.fingerprint = joblib.hash(facts)
            self._unfinished = job
            error.add_note(
                f"{type(self).__name__}: what was done is kept: fit again with warm_start=True to "
                "go on."
            )
            raise
        ridge = self._part("ridge").set_params(kernel="linear")
        self.ridge_ = ridge.fit(Phi, labels[kept], sample_weight=row_weights)
        self.binarizer_, self.features_ = job.binarizer, job.features
        self.thresholds_, self._unfinished = job.thresholds, None
        self.n_passes_ = job.binarizer.n_passes_ + self._n_passes_of_readout(len(kept))
        self.n_iter_, self.history_ = job.binarizer.n_iter_, job.binarizer.history_
        return Phi, kept, row_weights

    def _take_up(self, binarizer, facts):
        """Return the job of this fit: one that was cut short, or a new one."""
        job = getattr(self, "_unfinished", None)
        if not self.warm_start:
            return _Job(binarizer, draw_seeds(self.random_state, 2))
        if job is None:
            if hasattr(self, "binarizer_"):
                binarizer._go_on_from(self.binarizer_)
            return _Job(binarizer, draw_seeds(self.random_state, 2))
        if job.is_trained and job.fingerprint == joblib.hash(facts):
            return job
        binarizer._go_on_from(job.binarizer)
        return _Job(binarizer, job.seeds)

    def _train(self, job, device, X, targets, weights, n_rows):
        """Train the encoder, and leave enough of a budget of passes for the readout."""
        if job.is_trained:
            return
        with device.reserving(self._n_passes_of_readout(n_rows)):
            job.binarizer.fit(X, targets, sample_weight=weights)
        job.is_trained = True

    def _final_features(self, job, features, X, kept):
        """Features (n, D) that the ridge is fitted to."""
        job.thresholds = dither(self.n_draws, job.binarizer.n_bits, job.seeds[1])
        job.features = self._fit_features(features, job.binarizer)
        probabilities = job.binarizer.bit_probabilities(X)[kept]
        if self.prediction == "mean":
            return job.features.expectation(probabilities)
        thresholds = self._used_thresholds(job.thresholds)
        return job.means.of(job.features, probabilities, thresholds)

    def _n_passes_of_readout(self, n_rows):
        draws = {"mean": 0, "threshold": 1, "draws": self.n_draws}
        return n_rows * draws[self.prediction]

    def _configure(self, binarizer, features, seed):
        """Make the binarizer train for the features, after checking the device."""
        # Gradient estimators load torch.
        from skopu.gradients import resolve_gradient

        validate_params(features)
        n_free = int(features.form == "centered")
        device = resolve_device(features.opu, binarizer.n_bits, features.n_components, n_free)
        self._check_device(device)
        features.set_params(opu=device)
        binarizer.set_params(
            n_components=max(1, features.n_components - n_free),
            opu=device,
            loss=self._loss,
            warm_start=self.warm_start,
            verbose=max(self.verbose, binarizer.verbose),
        )
        if isinstance(features.gamma, str):
            binarizer.set_params(learn_gamma=features.gamma_per)
        if binarizer.objective == "auto" and not resolve_gradient(binarizer.gradient).uses_device:
            binarizer.set_params(objective=self._kappa())
        if binarizer.random_state is None:
            binarizer.set_params(random_state=seed)

    def _fit_features(self, features, binarizer):
        """Return fitted features, with the gamma that the binarizer learned if one was asked."""
        if isinstance(features.gamma, str):
            gamma = binarizer.gamma_
            if np.ndim(gamma) == 1:
                # The last is that of the popcount, which raw features do not have.
                n_features = features.n_components
                gamma = gamma[:n_features] if features.form == "raw" else gamma[-n_features:]
            features.set_params(gamma=gamma)
        # Without a gamma to learn, fitting looks at the number of bits only.
        codes = np.zeros((1, binarizer.n_bits), dtype=np.uint8)
        return features.set_params(binarize=None).fit(codes)

    def _kappa(self):
        """Price of the variance that suits the prediction: the share that is left of it."""
        if self.prediction == "mean":
            return _KAPPA_OF_MEAN
        return 1.0 if self.prediction == "threshold" else 1 / self.n_draws

    def _check_device(self, device):
        if self.prediction == "mean" and not device.known_matrix:
            raise IncompatiblePartsError(
                f"prediction='mean' needs the matrix of the device, and that of "
                f"{type(device).__name__} is unknown: use prediction='draws' or 'threshold', or "
                "measure it by skopu.devices.calibrate."
            )

    def _mean_features(self, probabilities):
        """Features (n, D) that the readout sees, from bit probabilities (n, k)."""
        if self.prediction == "mean":
            self._check_device(self.features_.opu_)
            return self.features_.expectation(probabilities)
        thresholds = self._used_thresholds(self.thresholds_)
        return MeanFeatures().of(self.features_, probabilities, thresholds)

    def _used_thresholds(self, thresholds):
        return np.full((1, 1), 0.5) if self.prediction == "threshold" else thresholds

    def _readout(self, X, method):
        """Apply a method of the readout to the features of X, a chunk of rows at a time."""
        check_is_fitted(self)
        apply = getattr(self.ridge_, method)
        probabilities = self.binarizer_.bit_probabilities(X)
        chunks = row_chunks(len(probabilities))
        return np.concatenate([apply(self._mean_features(probabilities[c])) for c in chunks])

    def to_pipeline(self):
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
