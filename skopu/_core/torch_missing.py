"""What is said where torch is not installed.

It is an extra, since its build is the user's choice: pip's own on Linux brings gigabytes of CUDA.
"""

from contextlib import contextmanager

_HOW = (
    "this needs PyTorch, which is not installed: pip install torch "
    "--index-url https://download.pytorch.org/whl/cpu (the build for CPUs; without that address, "
    "pip takes the one for CUDA)."
)


@contextmanager
def needing_torch():
    """Return a context in which a missing torch is told in one sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(_HOW, name="torch") from None
