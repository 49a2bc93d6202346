"""What a device answers in a training run: asked for or computed, counted, and learned from."""

from functools import partial

import torch

from skopu.exceptions import DeviceFault
from skopu.forms.intensities import FittedIntensities, KnownIntensities


def is_on_card(tensor):
    """Whether a tensor is elsewhere than in the host's memory."""
    return tensor.device.type != "cpu"


class DeviceAnswers:
    """The device as a joint model sees it: from codes to combinations of their intensities.

    Where the device's answers are computable, and the sizes make it worth while, the same
    combinations are computed without the intensities; the codes count as passes all the same,
    since that is what a machine would need.

    Parameters
    ----------
    device : OPUDevice
    n_components : int
        D.
    fit_penalty : float or None
        Of forms that are to be fitted to the answers; None: fit none.
    n_lost : int, default=0
        Passes already made for nothing.

    Attributes
    ----------
    fitted : FittedIntensities or None
        The forms, as of the last ``mark``.
    n_used : int
        Codes whose answers training has used.
    n_lost : int
        Codes that had to be sent again, because a fault came between.
    """

    def __init__(self, device, n_components, fit_penalty=None, n_lost=0):
        self.device, self.n_components, self.fitted = device, n_components, None
        self._fit_penalty, self._known, self._learned, self._aside = fit_penalty, None, None, []
        self.n_used, self.n_lost, self._n_marked = 0, n_lost, 0

    @property
    def n_passes(self):
        """Codes sent through the device, or answered in its place."""
        return self.n_used + self.n_lost

    def combiner(self, codes, n_outputs):
        """Return the function from weights (D, q) to combinations (m, q) of codes (m, k)."""
        if not self._collapses(*codes.shape, n_outputs):
            return self.intensities(codes).matmul
        self.device.count_passes(len(codes))
        self.n_used += len(codes)
        return partial(self.known(codes).combine, codes)

    def intensities(self, codes):
        """Return the intensities (m, D) of codes (m, k), all sent through the device."""
        bits = codes.to(torch.uint8)
        # Most devices take numpy arrays and know nothing of torch; on the processor that is faster.
        if not (is_on_card(bits) and getattr(self.device, "takes_tensors", False)):
            bits = bits.cpu().numpy()
        try:
            answers = self.device.project(bits, self.n_components)
        except DeviceFault as fault:
            # The minibatch is drawn anew after the fault, so answers to a part of it are of no use.
            self.n_lost += 0 if fault.partial is None else len(fault.partial)
            raise
        intensities = torch.as_tensor(answers).to(codes)
        if self._wants_answers(codes.shape[1]):
            self._aside.append((codes, intensities, self.n_used))
        self.n_used += len(codes)
        return intensities

    def known(self, like):
        """Return the forms of the intensities of a device whose matrix is known.

        Parameters
        ----------
        like : Tensor of shape (..., k)
            Of the dtype and on the torch device that are wanted.
        """
        if self._known is None:
            self._known = KnownIntensities(
                self.device.matrix(like.shape[-1], self.n_components), like
            )
        return self._known

    def learn(self):
        """Fit the forms with the answers to this minibatch, for the next one.

        Not for this one: a control variate fitted to the very draws it corrects would be
        biased. And on the side, until the minibatch is marked as done: one that is cut short
        will be done again, and must find the forms that it had.
        """
        for answers in self._aside:
            self._learned = (self._learned or self.fitted).with_answers(*answers)
        self._aside = []

    def mark(self):
        """Note that all so far is done: it is what ``state`` returns until the next mark."""
        self.fitted = self._learned or self.fitted
        self._learned, self._aside, self._n_marked = None, [], self.n_used

    def state(self):
        """Return what ``load`` takes, as of the last ``mark``: numbers, lists and tensors."""
        return {
            "fitted": None if self.fitted is None else self.fitted.state(),
            "n_used": self._n_marked,
            "n_lost": self.n_passes - self._n_marked,
        }

    def load(self, state, n_bits):
        """Go on from what ``state`` returned, without a pass."""
        self.n_used, self.n_lost = state["n_used"], state["n_lost"]
        if state["fitted"] is not None:
            self.fitted = FittedIntensities(n_bits, self._fit_penalty)
            self.fitted.load(state["fitted"])
        self.mark()

    def _collapses(self, n_codes, n_bits, n_outputs):
        """Whether forming the quadratic form costs less than projecting the codes.

        Multiplications: q k^2 (2D + m) for the form and its values, twice with the way back,
        against 2 m k D for the projection, which has no way back.
        """
        if not self.device.computable or self._wants_answers(n_bits):
            return False  # forms can only be fitted to intensities
        form = 2 * n_outputs * n_bits * (2 * self.n_components + n_codes)
        return form < 2 * n_codes * self.n_components

    def _wants_answers(self, n_bits):
        if self._fit_penalty is None:
            return False
        if self.fitted is None:
            self.fitted = FittedIntensities(n_bits, self._fit_penalty)
        return self.fitted.wants_answers(self.n_used)
