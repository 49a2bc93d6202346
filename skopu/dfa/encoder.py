"""Training a linear encoder before a device by direct feedback alignment."""

import math
from copy import copy
from functools import partial

import numpy as np
import torch

from skopu._core.random import draw_seeds
from skopu._core.tensors import Inputs
from skopu.dfa.feedback import DeviceFeedback, MatrixFeedback
from skopu.dfa.network import FeedbackNetwork, affine
from skopu.dfa.training import train_feedback_network
from skopu.gradients.relaxations import sigmoid_surrogate, straight_through
from skopu.training.encoders import LinearEncoder

_MAX_START_ROWS = 16384
_N_ITER = 3000  # minibatches that max_iter="auto" asks for, in whole epochs
_SPREAD = 0.2  # deviation of a device's features, times sqrt(D)


def train_feedback_encoder(rows, loss, settings, seed):
    """Train a linear encoder before a device, with a readout of the features.

    Parameters
    ----------
    rows, loss, seed
        As for ``train_feedback_network``.
    settings : DFABinarizer
        About to be fitted; holds the device and the feedback.

    Returns
    -------
    trained : TrainedFeedbackNetwork
        Encoder and readout.
    n_frames : int
        Of the projector.
    """
    start_seed, train_seed = draw_seeds(seed, 2)
    feedback = _feedback(settings)
    trained = train_feedback_network(
        _network(rows, settings, start_seed),
        feedback,
        rows,
        loss,
        _settled(settings, len(rows.weights)),
        train_seed,
    )
    return trained, feedback.n_passes


def _network(rows, settings, seed):
    """Return encoder, step, features and a readout of zeros as one network."""
    encoder = LinearEncoder(rows.X.shape[1], settings.n_bits)
    sample = Inputs(rows.X, "cpu", "float32").rows(np.arange(min(_MAX_START_ROWS, len(rows.Y))))
    encoder.start(sample, seed)
    n_outputs = rows.Y.shape[1]
    readout = affine(np.zeros((settings.n_components, n_outputs)), np.zeros(n_outputs))
    features = DeviceFeatures(settings.opu_, settings.n_components)
    step = partial(soft_edged_step, temperature=settings.temperature)
    return FeedbackNetwork([encoder, readout], step, features)


def _feedback(settings):
    if settings.projector_ is None:
        return MatrixFeedback([settings.feedback_], settings.torch_device)
    return DeviceFeedback(settings.projector_, [settings.n_bits])


def _settled(settings, n_rows):
    """Return a copy of the parameters with a number of epochs."""
    settled = copy(settings)
    if settings.max_iter == "auto":
        settled.max_iter = math.ceil(_N_ITER / max(1, n_rows // settings.batch_size))
    return settled


def soft_edged_step(logits, temperature):
    r"""Return 1[logits > 0]; the gradient is that of :math:`\sigma(l / T)`."""
    soft = sigmoid_surrogate(logits, temperature)
    return straight_through((logits > 0).to(logits.dtype), soft)


class DeviceFeatures:
    r"""Features of codes for a readout: :math:`|r_j^\top z|^2 - |z|^2`, made small.

    Their mean over matrices is 0, and for codes half full their deviation :math:`0.2/\sqrt D`.
    Adam moves all weights by the same step, and D features of deviation 1 would move the output
    by up to D of them at once: at this scale one learning rate suits readout and encoder.
    """

    def __init__(self, device, n_components):
        self._device, self._n_components = device, n_components

    def __call__(self, codes):
        """Return features (n, D) of codes (n, k), without a gradient."""
        bits = codes.detach().cpu().numpy().astype(np.uint8)
        intensities = self._device.project(bits, self._n_components)
        centred = intensities - bits.sum(axis=1, keepdims=True, dtype=np.float32)
        scale = 2 / bits.shape[1] * _SPREAD / math.sqrt(self._n_components)
        return torch.from_numpy(centred * np.float32(scale)).to(codes.device)
