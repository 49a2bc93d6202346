"""Products of matrices of small whole numbers, exact, by the faster of two ways.

Integers with 32-bit sums are several times faster where the processor has an instruction for
them (VNNI or the like; on cards, tensor cores) and ten to forty times slower where it has none;
float32 is exact while its sums stay below 2^24. Both give the same whole numbers, so that a choice
by measured speed changes no result.
"""

import sys
from functools import cache
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from skopu._core.places import HOST, float32_products, is_tensor, place_of

LARGEST = 127  # size of the numbers, so that bytes hold them
# Below this many multiplications, loading torch (a second or so) costs more than it saves.
_WORTH_LOADING_TORCH = 3 * 10**10
# Where an axis is shorter, there is nothing to gain; torch then leaves some results unwritten,
# such as those of a single column.
_SHORTEST_AXIS = 16
# A card's product takes more than 16 rows, and has given wrong sums of 17
# (https://github.com/pytorch/pytorch/issues/107671): they are made up to a multiple of this.
_CARD_ROWS = 32
_FLOAT_LIMIT = 2**24
# What is compared to choose: shapes (n, k), (k, m) of exactness, beside it one of speed.
_SHAPES = (16, 37, 16), (70, 1000, 96), (64, 2100, 69), (64, 2048, 96)
_TIMED = {"codes": (128, 512, 256), "levels": (128, 2048, 256)}


def choose_product(n_multiplications, kind, place=HOST):
    """Return the function for a job of that size: ``integer_product`` or ``float_product``.

    Parameters
    ----------
    n_multiplications : int
    kind : {"codes", "levels"}
        What is multiplied, see ``integers_win``.
    place : Host, default=HOST
        Where.
    """
    if "torch" not in sys.modules and n_multiplications < _WORTH_LOADING_TORCH:
        return float_product
    return integer_product if integers_win(kind, place) else float_product


def integer_product(left, right, out=None, largest=LARGEST**2):
    """Multiply (n, k) by (k, m), both int8 or uint8 with values to 127, with 32-bit sums.

    Parameters
    ----------
    left : ndarray or Tensor of shape (n, k)
    right : ndarray or Tensor of shape (k, m)
        On a card fastest where k and m are multiples of 8; made up to them if they are not.
    out : ndarray or Tensor of shape (n, m), C-ordered, 4 bytes an entry, or None
        Memory for the result, whatever its type.
    largest : int
        Size of the largest product of two entries; k times it stays below 2^31.

    Returns
    -------
    product : ndarray or Tensor of shape (n, m), int32, or float32 holding whole numbers
        In the memory of ``out``, if given.
    """
    if is_tensor(left):
        return _tensor_product(left, right, out)
    if min(*left.shape, right.shape[1]) < _SHORTEST_AXIS:
        return float_product(left, right, out, largest)
    import torch

    left, right = (torch.from_numpy(_readable(part).view(np.int8)) for part in (left, right))
    if out is None:
        return torch._int_mm(left, right).numpy()
    out = out.view(np.int32)
    torch._int_mm(left, right, out=torch.from_numpy(out))
    return out


def _tensor_product(left, right, out):
    """``integer_product`` of tensors, of sizes that a card's takes."""
    import torch

    (n, k), m = left.shape, right.shape[1]
    rows, terms, columns = -(-n // _CARD_ROWS) * _CARD_ROWS, -k % 8, -m % 8
    left, right = left.view(torch.int8), right.view(torch.int8)
    if rows == n and not terms and not columns:
        return torch._int_mm(left, right, out=None if out is None else out.view(torch.int32))
    left = torch.nn.functional.pad(left, (0, terms, 0, rows - n))
    right = torch.nn.functional.pad(right.T, (0, terms, 0, columns)).T
    product = torch._int_mm(left, right)[:n, :m]
    return product if out is None else out.view(torch.int32).copy_(product)


def float_product(left, right, out=None, largest=LARGEST**2):
    """As ``integer_product``, from float32 products short enough to be exact."""
    place, n_terms = place_of(left), _FLOAT_LIMIT // largest

    def product(left, right, out=None):
        left, right = place.cast(left, "float32"), place.cast(right, "float32")
        if not place.is_card:
            return np.matmul(left, right, out=out)
        with float32_products(place):  # what adds up factors of 11 bits may drop bits of the sum
            return place.xp.matmul(left, right, out=out)

    if left.shape[1] <= n_terms:
        return product(left, right, _as(place, out, "float32"))
    if out is None:
        out = place.empty((len(left), right.shape[1]), "int32")
    total = _as(place, out, "int32")
    total[...] = 0
    for start in range(0, left.shape[1], n_terms):
        part = slice(start, start + n_terms)
        total += place.cast(product(left[:, part], right[part]), "int32")
    return total


@cache
def integers_win(kind, place=HOST):
    """Whether torch's integer product works, is right and is the faster, on this machine.

    The function is private to torch: it may go, or change. Where oneDNN does not serve it, it
    is a plain loop. Processors without VNNI add pairs of products in 16 bits, which suffices
    for codes but not for levels: the test has the largest sums.

    Parameters
    ----------
    kind : {"codes", "levels"}
        "codes": zeros and ones, C-ordered rows, by columns of numbers from -127 to 127.
        "levels": numbers from 0 to 127, of ``A.T @ B`` with C-ordered A and B.
    place : Host, default=HOST
        Where.
    """
    rng = np.random.default_rng(0)
    try:
        agree = all(_agree(rng, kind, shape, place) for shape in _SHAPES)
        return agree and _is_faster(rng, kind, place)
    except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError):
        return False  # torch is absent, has no such function any more, or not for this place


def _readable(array):
    """Copy what torch would misread (rows that share memory) or warn of (read-only memory)."""
    overlaps = min(array.strides) < 1 or max(array.strides) < min(array.shape)
    return array if array.flags.writeable and not overlaps else np.array(array)


def _as(place, out, dtype):
    return None if out is None else out.view(getattr(place.xp, dtype))


def _operands(rng, kind, shape, place):
    n, k, m = shape
    highest, lowest = (1, -LARGEST) if kind == "codes" else (LARGEST, 0)
    left = rng.integers(0, highest + 1, size=(n, k), dtype=np.uint8)
    right = rng.integers(lowest, LARGEST + 1, size=(m, k), dtype=np.int8)
    left[0], right[0], right[1] = highest, LARGEST, lowest
    if kind == "levels":
        left, right = np.asfortranarray(left), np.asfortranarray(right)
    return place.put(left), place.put(right).T


def _agree(rng, kind, shape, place):
    operands = _operands(rng, kind, shape, place)
    out = place.empty((shape[0], shape[2]), "int32")
    return bool((integer_product(*operands, out) == float_product(*operands)).all())


def _is_faster(rng, kind, place):
    operands = _operands(rng, kind, _TIMED[kind], place)
    with threadpool_limits(1):
        seconds = [_seconds(way, operands, place) for way in (integer_product, float_product)]
    return seconds[0] < seconds[1]


def _seconds(way, operands, place):
    """Best of five."""
    times = []
    for _ in range(5):
        start = perf_counter()
        way(*operands)
        place.synchronize()
        times.append(perf_counter() - start)
    return min(times)
