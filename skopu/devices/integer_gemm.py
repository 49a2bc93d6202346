"""Products of codes with small integers, exact, by the faster of two ways.

Codes are 0 or 1 and entries of R at most 127 in size. Their product is a whole number that both
ways give exactly: integers with 32-bit sums (several times faster where the processor has an
instruction for it, VNNI or the like), and float32, whose sums are exact below 2^24.
"""

import sys
from functools import cache
from time import perf_counter

import numpy as np
from threadpoolctl import threadpool_limits

from skopu.devices.tiles import LARGEST_ENTRY

# float32 holds the sums over this many bits. It is a multiple of the width of a tile.
MAX_BITS = 2**14
# Below this many multiplications, loading torch (a second or so) costs more than it saves.
_WORTH_LOADING_TORCH = 3 * 10**10
# Where an axis is shorter, there is nothing to gain; torch then leaves some results unwritten,
# such as those of a single bit.
_SHORTEST_AXIS = 16


def choose_product(n_multiplications):
    """Return the function for a job of that size: ``integer_product`` or ``float_product``."""
    if "torch" not in sys.modules and n_multiplications < _WORTH_LOADING_TORCH:
        return float_product
    return integer_product if integers_win() else float_product


def integer_product(codes, block, out):
    """Multiply codes (n, k) by a block (m, k) into memory for (n, m) float32; return the sums.

    They are int32 that lie in that memory, or float32 where an axis is short.
    """
    import torch

    if min(*codes.shape, len(block)) < _SHORTEST_AXIS:
        return float_product(codes, block, out)
    if codes.strides[0] < codes.shape[1]:
        codes = np.array(codes)  # rows that share memory, which torch would misread
    out = out.view(np.int32)
    codes = torch.from_numpy(codes.view(np.int8))
    torch._int_mm(codes, torch.from_numpy(block).t(), out=torch.from_numpy(out))
    return out


def float_product(codes, block, out):
    """Multiply codes (n, k) by a block (m, k) into ``out``, (n, m) float32; return it."""
    return np.matmul(codes.astype(np.float32), block.astype(np.float32).T, out=out)


@cache
def integers_win():
    """Whether torch's integer product works, is right and is the faster, on this machine.

    The function is private to torch: it may go, or change. Where oneDNN does not serve it, it
    is a plain loop. Processors without VNNI add pairs of products in 16 bits, which suffices
    for codes and entries up to 127; the test has the largest sums.
    """
    rng = np.random.default_rng(0)
    try:
        return all(_passes(rng, *shape) for shape in ((16, 37, 16), (70, 1000, 96))) and (
            _is_faster(rng)
        )
    except (AttributeError, RuntimeError, TypeError):
        return False


def _operands(rng, n_codes, n_bits, n_columns):
    codes = rng.integers(0, 2, size=(n_codes, n_bits), dtype=np.uint8)
    codes[0] = 1
    block = rng.integers(-LARGEST_ENTRY, LARGEST_ENTRY + 1, size=(n_columns, n_bits), dtype=np.int8)
    block[0], block[1] = LARGEST_ENTRY, -LARGEST_ENTRY
    return codes, block


def _passes(rng, *shape):
    operands = _operands(rng, *shape)
    found = [way(*operands, _memory(*operands)) for way in (integer_product, float_product)]
    return np.array_equal(*found)


def _memory(codes, block):
    return np.empty((len(codes), len(block)), dtype=np.float32)


def _is_faster(rng):
    operands = _operands(rng, 128, 512, 256)
    with threadpool_limits(1):
        seconds = [_seconds(way, operands) for way in (integer_product, float_product)]
    return seconds[0] < seconds[1]


def _seconds(product, operands):
    """Best of five."""
    memory, times = _memory(*operands), []
    for _ in range(5):
        start = perf_counter()
        product(*operands, memory)
        times.append(perf_counter() - start)
    return min(times)
