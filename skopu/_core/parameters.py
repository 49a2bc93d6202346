"""What values parameters may have, said once for those that several estimators share."""

from numbers import Integral, Real

from skopu._core.validation import Interval, StrOptions

COUNT = [Interval(Integral, 1, None, closed="left")]
POSITIVE = [Interval(Real, 0, None, closed="neither")]
NOT_NEGATIVE = [Interval(Real, 0, None, closed="left")]

SCALER = {"scaler": [StrOptions({"standard", "quantile"}), None]}
LAYERS = {"hidden_layer_sizes": ["array-like", *COUNT]}
BOP = {"gamma": [Interval(Real, 0, 1, closed="right")], "tau": NOT_NEGATIVE}
EARLY_STOPPING = {
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": COUNT,
}
TRAINING = {
    "max_iter": COUNT,
    "batch_size": COUNT,
    "torch_device": [str],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
