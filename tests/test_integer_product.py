"""Products of whole numbers: both ways exact, and the choice between them."""

import os
import subprocess
import sys

import numpy as np
import pytest

from skopu._core import integer_product
from skopu._core.integer_product import (
    LARGEST,
    choose_product,
    float_product,
    integers_win,
)


def operands(kind, n, k, m, rng):
    """What is multiplied, with the largest sums that there are."""
    highest, lowest = (1, -LARGEST) if kind == "codes" else (LARGEST, 0)
    left = rng.integers(0, highest + 1, size=(n, k), dtype=np.uint8)
    right = rng.integers(lowest, LARGEST + 1, size=(k, m), dtype=np.int8)
    left[0], right[:, 0] = highest, LARGEST
    return left, right


@pytest.mark.parametrize("kind", ["codes", "levels"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 40), (40, 3000, 20), (20, 17, 300)])
@pytest.mark.parametrize("has_memory", [False, True])
def test_products_are_exact(kind, shape, has_memory, rng):
    """Oracle: int64."""
    left, right = operands(kind, *shape, rng)
    expected = left.astype(np.int64) @ right
    for product in {float_product, choose_product(10**12, kind)}:
        out = np.full(expected.shape, np.nan, dtype=np.float32) if has_memory else None
        found = product(left, right, out)
        np.testing.assert_array_equal(found, expected)
        assert not has_memory or np.shares_memory(found, out)


def test_float_sums_hold_as_many_terms_as_the_factors_allow(rng):
    """Oracle: int64, of more codes than the largest of other numbers would allow."""
    left, right = operands("codes", 17, 5000, 18, rng)
    found = float_product(left, right, largest=LARGEST)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, left.astype(np.int64) @ right)


def test_a_small_job_does_not_load_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(integer_product, "integers_win", lambda *job: True)
    assert choose_product(10**6, "codes") is float_product
    assert choose_product(10**12, "codes") is integer_product.integer_product


@pytest.mark.parametrize("failure", [AttributeError, NotImplementedError, RuntimeError, "wrong"])
def test_a_product_that_fails_or_is_wrong_does_not_win(failure, monkeypatch):
    def product(left, right, out=None, largest=1):
        if failure == "wrong":
            return float_product(left, right, out) + 1
        raise failure

    monkeypatch.setattr(integer_product, "integer_product", product)
    integers_win.cache_clear()
    try:
        assert not integers_win("levels")
    finally:
        integers_win.cache_clear()


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_levels_are_not_trusted_to_16_bits(isa):
    """Oracle: int64, in a process whose library does without VNNI; the variable is read once."""
    script = (
        "import numpy as np, torch;"
        "from skopu._core.integer_product import choose_product;"
        "codes = np.full((300, 64), 127, dtype=np.int8);"
        "found = choose_product(10**12, 'levels')(codes.T, codes);"
        "print((found == 300 * 127**2).all())"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    found = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert found.split() == ["True"]
