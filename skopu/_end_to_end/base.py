"""What the regressor and the classifier share: joint training and the three predictions."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from skopu._binarizer import SupervisedBinarizer
from skopu._features import OPUFeatures, OPURandomFeatures
from skopu._parts import PartsMixin
from skopu._random import dither, draw_seeds
from skopu._rows import merge_repeated_rows
from skopu._validation import HasMethods, Interval, StrOptions, validate_params
from skopu.devices import resolve_device
from skopu.exceptions import IncompatiblePartsError

_CHUNK_ROWS = 4096
_MAX_FREE_COMPONENTS = 4096
# The mean has no variance, but at a price of zero nothing would keep that of the codes bounded.
_KAPPA_OF_MEAN = 0.1


class EndToEnd(PartsMixin, BaseEstimator):
    """Parameters, training and readout common to both."""

    _part_names = ("binarizer", "features", "ridge")
    _parameter_constraints = {
        "binarizer": [HasMethods(["fit", "bit_probabilities"]), None],
        "features": [HasMethods(["fit", "transform", "expectation"]), None],
        "ridge": [None],  # and the class of the readout, which the subclasses name
        "prediction": [StrOptions({"draws", "threshold", "mean"})],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
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
        random_state=None,
        verbose=0,
    ):
        self.binarizer = binarizer
        self.features = features
        self.ridge = ridge
        self.prediction = prediction
        self.n_draws = n_draws
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
        seed, dither_seed = draw_seeds(self.random_state, 2)
        self._configure(binarizer, features, seed)
        self.binarizer_ = binarizer.fit(X, targets, sample_weight=weights)
        self.thresholds_ = dither(self.n_draws, binarizer.n_bits, dither_seed)
        self.features_ = self._fit_features(features)
        matrix = targets.reshape(len(targets), -1).astype(np.float64)
        *_, row_weights, kept = merge_repeated_rows(checked, matrix, weights)
        n_passes = self.features_.opu_.n_passes
        Phi = self._mean_features(self.binarizer_.bit_probabilities(X)[kept])
        self.ridge_ = self._part("ridge").set_params(kernel="linear")
        self.ridge_.fit(Phi, labels[kept], sample_weight=row_weights)
        self.n_passes_ = self.binarizer_.n_passes_ + self.features_.opu_.n_passes - n_passes
        self.n_iter_, self.history_ = self.binarizer_.n_iter_, self.binarizer_.history_
        return Phi, kept, row_weights

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
            verbose=max(self.verbose, binarizer.verbose),
        )
        if isinstance(features.gamma, str):
            binarizer.set_params(learn_gamma=features.gamma_per)
        if binarizer.objective == "auto" and not resolve_gradient(binarizer.gradient).uses_device:
            binarizer.set_params(objective=self._kappa())
        if binarizer.random_state is None:
            binarizer.set_params(random_state=seed)

    def _fit_features(self, features):
        """Return fitted features, with the gamma that the binarizer learned if one was asked."""
        if isinstance(features.gamma, str):
            gamma = self.binarizer_.gamma_
            if np.ndim(gamma) == 1:
                # The last is that of the popcount, which raw features do not have.
                n_features = features.n_components
                gamma = gamma[:n_features] if features.form == "raw" else gamma[-n_features:]
            features.set_params(gamma=gamma)
        # Without a gamma to learn, fitting looks at the number of bits only.
        codes = np.zeros((1, self.binarizer_.n_bits), dtype=np.uint8)
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
        thresholds = np.full((1, 1), 0.5) if self.prediction == "threshold" else self.thresholds_
        total = np.zeros((len(probabilities), self.features_.n_components), dtype=np.float32)
        for threshold in thresholds:
            codes = (probabilities > threshold).view(np.uint8)
            total += np.asarray(self.features_.transform(codes))
        total /= len(thresholds)
        return total.view(OPUFeatures)

    def _readout(self, X, method):
        """Apply a method of the readout to the features of X, a chunk of rows at a time."""
        check_is_fitted(self)
        apply = getattr(self.ridge_, method)
        probabilities = self.binarizer_.bit_probabilities(X)
        chunks = gen_batches(len(probabilities), _CHUNK_ROWS)
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
