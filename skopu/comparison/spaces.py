"""What a random search draws from, for the methods that do not tune themselves.

The paper searched size of the code, learning rate, penalties of encoder and readout, and number of
epochs; and the variance of random features. Readouts behind codes choose their alpha by
leave-one-out error, which a search could only repeat, and the variance of a device's features is
then their alpha's (equation 14). Kernel ridge and the Gaussian process tune themselves.
"""

from scipy.stats import loguniform

_SCALERS = ["standard", "quantile"]
_ENCODER = {
    "n_bits": [32, 64, 128],
    "scaler": _SCALERS,
    "learning_rate": loguniform(0.01, 0.1),
    "encoder_penalty": loguniform(1e-4, 1e-1),
    "readout_penalty": loguniform(1e-4, 1e-2),
    "max_iter": [750, 1500, 3000],
}
_FEEDBACK = {
    "n_bits": [32, 64, 128],
    "scaler": _SCALERS,
    "learning_rate_init": loguniform(0.005, 0.2),
    "alpha": loguniform(1e-4, 1.0),  # of encoder and readout alike
    "temperature": loguniform(0.1, 2.0),
}
_AUTOENCODER = {
    "n_bits": [32, 64, 128],
    "scaler": _SCALERS,
    "learning_rate": loguniform(1e-3, 1e-1),
    "lambda_reg": loguniform(1e-4, 1.0),
    "max_iter": [1000, 2000, 4000],
}


def nested(name, space):
    """Return a space for a part of that name."""
    return {f"{name}__{key}": values for key, values in space.items()}


JOINT = nested("binarizer", _ENCODER)
FEEDBACK = nested("binarizer", _FEEDBACK)
AUTOENCODER = nested("binarizer", _AUTOENCODER)
BINARY_PROCESS = nested("autoencoderbinarizer", _AUTOENCODER)
BITS = {"binarizer__n_bits": [32, 64, 128, 256]}
FOURIER = {"variance": loguniform(2.0**-5, 2.0**4)}
BOOSTING = {
    "learning_rate": loguniform(0.02, 0.3),
    "max_iter": [100, 200, 400],
    "max_leaf_nodes": [7, 15, 31, 63],
    "min_samples_leaf": [5, 10, 20, 40],
    "l2_regularization": loguniform(1e-4, 10.0),
}
MLP = {
    "hidden_layer_sizes": [(100,), (256,), (64, 64), (128, 128)],
    "alpha": loguniform(1e-5, 1.0),
    "learning_rate_init": loguniform(3e-4, 1e-2),
}
