"""``skopu device check``: the first hour of someone with a laser, in a minute."""

import argparse
import importlib
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from skopu.comparison.figure import check_figure_path
from skopu.comparison.printing import say, show
from skopu.comparison.problems import InputError
from skopu.devices import Camera, LightOnOPU, SimulatedOPU
from skopu.exceptions import DeviceFault, DeviceLimitError
from skopu.kernels import opu_kernel

_N_CODES = 200
_N_REPEATS = 5
_FIGURE = "skopu-device.png"
# Where a verdict turns. Light through a diffuser that is fully developed has a contrast of 1; a
# speckle grain that covers several pixels, or a reference beam, has less.
_LEAST_CONTRAST, _LEAST_GROWTH, _LEAST_REPEAT, _LEAST_KERNEL = 0.7, 0.9, 0.99, 0.95
_MOST_DARK, _MOST_FULL = 0.25, 0.01


class Finding(NamedTuple):
    """One line of the verdict."""

    name: str
    value: str
    is_good: bool
    advice: str


def main(argv):
    """Check a device: a frame, its statistics, a picture, a verdict.

    Parameters
    ----------
    argv : list of str

    Returns
    -------
    status : int
        1 if something is wrong with the light.
    """
    options = _make_parser().parse_args(argv)
    path = None if options.no_figure else _check_figure(options.figure)
    with_device = _open(options)
    try:
        with with_device as opu:
            codes, frames, repeats = _look(opu, options.n_bits, options.n_components)
    except (DeviceFault, DeviceLimitError, OSError) as error:
        say(f"skopu: the device did not answer: {error}")
        return 1
    findings = judge(codes, frames, repeats)
    _report(type(opu).__name__, codes, frames, findings)
    if path:
        _draw(path, codes, frames)
        show(f"Figure: {path}")
    bad = [finding for finding in findings if not finding.is_good]
    if not bad:
        show("Verdict: the light is usable.")
        return 0
    show("Verdict: not yet.")
    for finding in bad:
        show(f"  {finding.name}: {finding.advice}")
    return 1


def judge(codes, frames, repeats):
    """Return the findings on what a device answered.

    Parameters
    ----------
    codes : ndarray of shape (n, k)
        The first two are no part of the statistics: all bits off, and all on.
    frames : ndarray of shape (n, D)
    repeats : ndarray of shape (r, D)
        Of one code, several times.

    Returns
    -------
    findings : list of Finding
    """
    codes, frames = codes[2:], frames[2:].astype(np.float64)
    ones, top = codes.sum(axis=1), frames.max()
    growth = _correlation(frames.mean(axis=1), ones)
    per_bit = frames / np.maximum(ones, 1)[:, None]
    contrast = float(np.median(per_bit.std(axis=1) / np.maximum(per_bit.mean(axis=1), 1e-12)))
    dark, full = np.mean(frames <= 0), np.mean(frames == top)
    again = np.mean([_correlation(repeats[0], other) for other in repeats[1:]])
    kernel = _kernel_agreement(codes, frames)
    return [
        Finding(
            "dark pixels",
            f"{dark:.1%}",
            dark <= _MOST_DARK,
            "raise the exposure or the power, or look whether the beam hits the camera.",
        ),
        Finding(
            "pixels at the largest value",
            f"{full:.1%}",
            full <= _MOST_FULL,
            "lower the exposure: frames are saturated.",
        ),
        Finding(
            "intensity against lit bits, correlation",
            f"{growth:.3f}",
            growth >= _LEAST_GROWTH,
            "bits do not reach the medium as they should: check the order of bits on the "
            "modulator, and stray light.",
        ),
        Finding(
            "speckle contrast (1: fully developed)",
            f"{contrast:.2f}",
            contrast >= _LEAST_CONTRAST,
            "grains cover several pixels, or light goes past the medium: magnify, or take pixels "
            "further apart.",
        ),
        Finding(
            "the same code again, correlation",
            f"{again:.4f}",
            again >= _LEAST_REPEAT,
            "the set-up moves or the light is weak: let it warm up, or average frames.",
        ),
        Finding(
            "kernel of the frames against its closed form",
            f"{kernel:.3f}",
            kernel >= _LEAST_KERNEL,
            "the medium mixes less than a Gaussian matrix does, or too few components were read: "
            "try more of them.",
        ),
    ]


def _kernel_agreement(codes, frames):
    """Correlation of inner products of centred frames with what light of this kind would give."""
    codes, frames = codes[:100], frames[:100]
    gain = frames.mean() / max(codes.sum(axis=1).mean(), 1e-12)
    measured = frames @ frames.T / (gain**2 * frames.shape[1])
    pairs = np.triu_indices(len(codes), 1)
    return _correlation(measured[pairs], opu_kernel(codes)[pairs])


def _correlation(first, second):
    spread = np.std(first) * np.std(second)
    return float(np.corrcoef(first, second)[0, 1]) if spread > 0 else 0.0


def _look(opu, n_bits, n_components):
    """Return codes, their frames, and frames of one code again and again."""
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.1, 0.9, size=(_N_CODES, 1))
    codes = (rng.random((_N_CODES, n_bits)) < shares).astype(np.uint8)
    codes[0], codes[1] = 0, 1
    frames = opu.project(codes, n_components)
    # One at a time, with others in between: a device may hold on to a frame that repeats.
    repeats = []
    for number in range(_N_REPEATS):
        repeats.append(opu.project(codes[2:3], n_components)[0])
        opu.project(codes[3 + number : 4 + number], n_components)
    return codes, frames, np.array(repeats, dtype=np.float64)


def _make_parser():
    parser = argparse.ArgumentParser(
        prog="skopu device",
        description="Look at the light of a device: frames of random codes, their statistics, a "
        "picture, and a verdict with what to do.",
    )
    parser.add_argument("action", choices=["check"], help="what to do")
    parser.add_argument(
        "--device",
        default="camera",
        metavar="NAME",
        help="simulated, camera (simulated, behind an 8-bit camera), lighton, "
        "lighton-simulated, or your own as module:object, an OPUDevice or what makes one "
        "(default: %(default)s)",
    )
    parser.add_argument("--n-bits", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--n-components", type=int, default=1024, help="default: %(default)s")
    figure = parser.add_mutually_exclusive_group()
    figure.add_argument("--figure", default=_FIGURE, metavar="PATH", help="default: %(default)s")
    figure.add_argument("--no-figure", action="store_true", help="draw nothing")
    return parser


def _check_figure(path):
    try:
        check_figure_path(path)
    except ModuleNotFoundError:
        say('skopu: no figure will be drawn; figures need matplotlib: pip install "skopu[plot]"')
        return None
    return path


def _open(options):
    sizes = {"n_bits": options.n_bits, "n_components": options.n_components}
    known = {
        "simulated": SimulatedOPU,
        "camera": lambda: SimulatedOPU(camera=Camera()),
        "lighton": lambda: LightOnOPU(**sizes),
        "lighton-simulated": lambda: LightOnOPU(simulated=True, **sizes),
    }
    if min(options.n_bits, options.n_components) < 16:
        raise InputError("--n-bits and --n-components must be 16 or more for statistics.")
    make = known.get(options.device) or _own(options.device, known)
    device = make() if callable(make) else make
    return device if hasattr(device, "__enter__") else nullcontext(device)


def _own(place, known):
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"--device {place!r} is none of {', '.join(known)}, nor a module:object that can be "
            f"imported: {error}"
        ) from None
    return found


def _report(name, codes, frames, findings):
    show(f"{name}: {len(codes)} codes of {codes.shape[1]} bits, {frames.shape[1]} components")
    quantiles = np.quantile(frames[2:], [0, 0.5, 0.99, 1])
    show("intensities: least {:.3g}, median {:.3g}, 99 % {:.3g}, largest {:.3g}".format(*quantiles))
    show(f"all bits off: {frames[0].mean():.3g} on average; all on: {frames[1].mean():.3g}")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "ok" if finding.is_good else "LOOK"
        show(f"  {finding.name:<{width}}  {finding.value:>7}  {mark}")


def _draw(path, codes, frames):
    """Draw a frame, the law of its pixels, and intensities against lit bits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    picture, law, growth = figure.subplots(1, 3)
    side = int(np.sqrt(frames.shape[1]))
    picture.imshow(frames[2, : side**2].reshape(side, side), cmap="magma", interpolation="nearest")
    picture.set(title="a frame", xticks=[], yticks=[])
    pixels = frames[2:] / np.maximum(frames[2:].mean(axis=1, keepdims=True), 1e-12)
    law.hist(pixels.ravel(), bins=np.linspace(0, 6, 61), density=True, color="0.7")
    levels = np.linspace(0, 6, 200)
    law.plot(levels, np.exp(-levels), color="C1", label="speckle, exp(-I)")
    law.set(title="pixels, in units of a frame's mean", xlabel="I", yscale="log", ylim=(1e-3, 2))
    law.legend(frameon=False)
    growth.plot(codes.sum(axis=1), frames.mean(axis=1), ".", color="C0", markersize=4)
    growth.set(title="mean intensity", xlabel="lit bits")
    figure.savefig(path, dpi=150)
