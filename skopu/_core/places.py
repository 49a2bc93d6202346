"""Where arrays are worked on: by numpy in the host's memory, or by torch on a card.

Code that serves both is written once. It says ``place.xp`` for what numpy and torch call alike
(``square``, ``add(out=)``, ``matmul``, ``clip``), and asks the place for what they do not. What
runs on a card runs on the processor too: ``torch_device="cpu"`` means numpy, and torch where it is
given tensors; ``"cpu:0"`` means torch in any case, which is how machines without a card test it.
"""

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock

import numpy as np
from scipy.special import expit

from skopu._core.torch_missing import needing_torch


def is_tensor(array):
    """Whether an array is torch's; imports nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def to_host(array):
    """Return a numpy array of the values of a tensor; other arrays are passed on."""
    return array.detach().cpu().numpy() if is_tensor(array) else array


@dataclass(frozen=True)
class Host:
    """numpy: the processor, and its memory."""

    xp, is_card, name = np, False, "cpu"
    multiple = 1  # sizes of products of bytes

    def put(self, array, dtype=None):
        """Return an array of these values here, of a dtype by its name; not a copy if it is one."""
        return np.asarray(to_host(array), dtype=dtype)

    def empty(self, shape, dtype):
        """Return memory."""
        return np.empty(shape, dtype=dtype)

    def zeros(self, shape, dtype="float64"):
        """Return zeros."""
        return np.zeros(shape, dtype=dtype)

    def cast(self, array, dtype):
        """Return an array of a dtype, by its name; itself if it is of that."""
        return array.astype(dtype, copy=False)

    def difference(self, left, right, dtype):
        """Return ``left - right`` computed in a dtype, by its name."""
        return np.subtract(left, right, dtype=dtype, casting="unsafe")

    def copy(self, array):
        """Return a copy."""
        return array.copy()

    def sigmoid(self, logits):
        """Return probabilities; the logits may be written over."""
        return expit(logits, out=logits)

    def aligned(self, size):
        """Return the size that a side of a product of bytes is made up to."""
        return -(-size // self.multiple) * self.multiple

    def fft(self, table, axes):
        """Return the Fourier transform, which may be made in the place of the table."""
        from scipy import fft

        return fft.fftn(table, axes=axes, overwrite_x=True, workers=1)

    def generator(self, seed):
        """Return the place's own source of random numbers."""
        return np.random.default_rng(seed)

    def normal(self, generator, shape):
        """Return float32 standard normal numbers."""
        return generator.standard_normal(shape, dtype=np.float32)

    def synchronize(self):
        """Wait until what was asked is done."""

    def release(self):
        """Give back memory that is kept for later."""


@dataclass(frozen=True)
class Card(Host):
    """torch, on one of its devices.

    Parameters
    ----------
    name : str
        As torch calls the device.
    """

    name: str

    is_card = True
    multiple = 8  # what the integer product of a card asks of all sizes but the rows

    @property
    def xp(self):
        """The namespace of functions."""
        import torch

        return torch

    def put(self, array, dtype=None):
        """Return a tensor of these values here, of a dtype by its name."""
        torch = self.xp
        if not is_tensor(array):
            array = np.asarray(array)
            # torch warns of memory that may not be written.
            array = torch.from_numpy(array if array.flags.writeable else array.copy())
        return array.to(self.name, None if dtype is None else getattr(torch, dtype))

    def empty(self, shape, dtype):
        """Return memory."""
        return self.xp.empty(shape, dtype=getattr(self.xp, dtype), device=self.name)

    def zeros(self, shape, dtype="float64"):
        """Return zeros."""
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype), device=self.name)

    def cast(self, array, dtype):
        """Return a tensor of a dtype, by its name; itself if it is of that."""
        return array.to(getattr(self.xp, dtype))

    def difference(self, left, right, dtype):
        """Return ``left - right`` computed in a dtype, by its name."""
        return self.cast(left, dtype) - self.cast(right, dtype)

    def copy(self, array):
        """Return a copy."""
        return array.clone()

    def sigmoid(self, logits):
        """Return probabilities; the logits may be written over."""
        return logits.sigmoid_()

    def fft(self, table, axes):
        """Return the Fourier transform."""
        return self.xp.fft.fftn(table, dim=axes)

    def generator(self, seed):
        """Return the place's own source of random numbers; it pickles with its state."""
        return self.xp.Generator(self.name).manual_seed(seed)

    def normal(self, generator, shape):
        """Return float32 standard normal numbers."""
        options = {"generator": generator, "device": self.name, "dtype": self.xp.float32}
        return self.xp.randn(*shape, **options)

    def synchronize(self):
        """Wait until what was asked is done."""
        if self.name.startswith("cuda"):
            self.xp.cuda.synchronize(self.name)

    def release(self):
        """Give back memory that is kept for later."""
        if self.name.startswith("cuda"):
            self.xp.cuda.empty_cache()


HOST = Host()


def rows_of(array, rows):
    """Return rows of an array or a tensor: a slice of them, or chosen by an array."""
    if is_tensor(array) and not isinstance(rows, slice):
        rows = place_of(array).put(np.flatnonzero(rows) if rows.dtype == bool else rows)
    return array[rows]


_ONE_AT_A_TIME = Lock()


@contextmanager
def float32_products(place, rounds_factors=False):
    """Let a card multiply float32 matrices in full, or by factors of 11 bits (TF32), in a context.

    torch has this as a setting of the whole process, which others change. The context is to hold
    one product, whose start takes microseconds, and waits for those of other threads.
    """
    if not place.is_card:
        yield
        return
    wanted = "high" if rounds_factors else "highest"
    with _ONE_AT_A_TIME:
        before = place.xp.get_float32_matmul_precision()
        place.xp.set_float32_matmul_precision(wanted)
        try:
            yield
        finally:
            place.xp.set_float32_matmul_precision(before)


def dtype_name(array):
    """Return the name of an array's dtype, which numpy and torch have in common."""
    return str(array.dtype).removeprefix("torch.")


def place_of(array):
    """Return the place where an array is."""
    return Card(str(array.device)) if is_tensor(array) else HOST


def find_place(torch_device):
    """Return the place that a ``torch_device`` stands for: "cpu" is numpy, "auto" a card if any."""
    name = resolve_torch_device(torch_device)
    if name == "cpu":
        return HOST
    import torch

    return place_of(torch.empty(0, device=name))  # with the number that its tensors will tell


def resolve_torch_device(torch_device):
    """Return the name of a device that torch has: "auto" is a card where there is one.

    Parameters
    ----------
    torch_device : str
        "cpu", "auto", "cuda", "cuda:1" or another of torch's.

    Raises
    ------
    ValueError
        If torch has no such device.
    """
    if torch_device == "cpu":
        return torch_device
    if torch_device == "auto" and find_spec("torch") is None:
        return "cpu"
    with needing_torch():
        import torch

    if torch_device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(torch_device)
    except RuntimeError as error:
        raise ValueError(
            f"torch_device={torch_device!r} is no device of torch: use 'cpu', 'auto', 'cuda' or "
            "'cuda:1'."
        ) from error
    if device.type == "cuda":
        _check_card(torch, torch_device, device.index or 0)
    return str(device)


def _check_card(torch, asked, index):
    n_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= n_cards:
        seen = f"{n_cards} card(s)" if n_cards else "no card"
        raise ValueError(
            f"torch_device={asked!r} asks for a graphics card, and torch {torch.__version__} sees "
            f"{seen} on this machine: use torch_device='cpu', or 'auto', which takes a card where "
            "there is one."
        )
