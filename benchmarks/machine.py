"""What a process used, and what it ran on: printed beside every rate."""

import os
import resource
from pathlib import Path


def cpu_seconds():
    """Seconds of all threads of this process and of the children that it has waited for."""
    whose = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in whose)


def forget_peak():
    """Let the peak of memory start at what is in use now, where the system can do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak stays that of the whole process


def peak_megabytes():
    """Peak of resident memory.

    Not ``ru_maxrss`` where it can be helped: on Linux that survives the start of a new program, so
    that a small child of a large process reports the memory of its parent.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def machine():
    """Return the instruction set, the libraries of products and the versions, by name."""
    import numpy
    import scipy
    import sklearn
    import torch
    from threadpoolctl import threadpool_info

    blas = {f"{d['internal_api']} {d.get('architecture', '')}".strip() for d in threadpool_info()}
    return {
        "instructions": torch.backends.cpu.get_cpu_capability() + (" VNNI" if has_vnni() else ""),
        "libraries": ", ".join(sorted(blas)),
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set"),
        **{module.__name__: module.__version__ for module in (numpy, scipy, sklearn, torch)},
    }


def describe():
    """Return the same on one line."""
    return "; ".join(f"{name} {value}" for name, value in machine().items())


def has_vnni():
    """Whether the processor multiplies bytes in one instruction, where the system tells."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
