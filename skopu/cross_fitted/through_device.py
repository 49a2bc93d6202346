"""The ensemble through a device: which features, how many passes, and what the readout makes."""

from contextlib import contextmanager

import numpy as np
from sklearn.pipeline import Pipeline

from skopu._core.random import draw_seeds
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.binarizers.tree import TreeBinarizer
from skopu.cross_fitted.answers import Answers
from skopu.cross_fitted.optical_readout import OpticalReadout, ReadoutFit
from skopu.cross_fitted.shown_codes import (
    THRESHOLD,
    SplitCode,
    choose_codes,
    draw_thresholds,
    spread_draws,
)
from skopu.kernel_ridge.alpha import Solution
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.ridge.readout import LinearReadout


def open_device(model):
    """Return the device, after checking its size; None for a mean."""
    if model.prediction == "mean":
        return None
    return _features(model, model.opu)._open(model.n_bits)


@contextmanager
def reserving(model, device, job, n_rows):
    """Set the passes that a job may still take aside, while encoders are trained; a context.

    Raises
    ------
    PassBudgetError
        If they are not there: known before an hour of training.
    """
    if device is None:
        yield
        return
    n_draws = model.n_draws if model.prediction == "draws" else 1
    most = n_rows * n_draws * model.n_codes
    n_passes = most if job.answers is None else job.answers.n_left
    device.check_passes(n_passes)
    with device.reserving(n_passes):
        yield


def _features(model, opu):
    return OPURandomFeatures(model.n_components, opu=opu, binarize=None)


def answers_for(model, job, selector, bits):
    """Return the ``Answers`` of a job, chosen and begun if they are not yet.

    Parameters
    ----------
    model : CrossFitted
    job : Job
    selector : Selector
    bits : dict of str to list of SplitBits
        By kind and fold; empty without trees.
    """
    if job.answers is None:
        draw_seed, centre_seed = draw_seeds(job.seeds[-1], 2)
        trees = selector.tree_readouts(bits).get("splits")
        thresholds, factor = _thresholds(model, draw_seed), sharpness(model.prediction)
        codes = choose_codes(selector, trees, model.n_codes, factor, thresholds)
        if model.prediction == "draws":
            codes = spread_draws(codes, model.n_draws, draw_seed)
        # A machine lays out its mirrors for the first codes that it sees, and takes no longer ones.
        codes.sort(key=lambda code: -code.n_bits)
        job.answers = Answers(codes, len(selector.Y), selector.n_folds, centre_seed)
    return job.answers


def sharpness(prediction):
    """Return the factor of logits before codes are drawn.

    Exact training counts the variance of the codes as that of a mean, where a drawn bit that is
    all but undecided does no harm. Through a device it does: with 8 codes and 10 draws, factors of
    1, 1.5, 2, 3 gave on energy .0030, .0025, .0028, .0026, on yacht .00103, .00074, .00108,
    .00110, on boston .118, .114, .121, .124.
    """
    return 1.5 if prediction == "draws" else 1.0


def _thresholds(model, seed):
    """Return thresholds (n_codes, S, k) of draws, or (n_codes, 1, 1)."""
    if model.prediction == "threshold":
        return np.repeat(THRESHOLD[None], model.n_codes, axis=0)
    return draw_thresholds(model.n_draws, model.n_codes, model.n_bits, seed)


def read_answers(model, answers, device, selector):
    """Ask the device for all answers and fit a readout to them.

    Returns
    -------
    readout : OpticalReadout
    fit : ReadoutFit
    """
    # Loaded here, so that importing the package stays light.
    from tqdm.auto import tqdm

    lengths = {code.n_bits for code in answers.codes}
    features = {k: _features(model, device)._fit_bits(k, device) for k in lengths}
    bar = {"disable": not model.verbose, "desc": "passes", "unit": "pass"}
    with tqdm(total=answers.n_passes, **bar) as shown:
        answers.gather(features, selector.codes.copies, shown.update)
    fit = ReadoutFit(answers, selector.Y, selector.weights, selector.folds)
    read = fit.coef, fit.intercept, fit.fold_coef, fit.fold_intercept, fit.alpha, fit.error
    return OpticalReadout(features, answers.codes, *read), fit


def pipeline_of(model, ridge, scale, shift):
    """Return a pipeline of one code, of a fitted model with one.

    Parameters
    ----------
    model : CrossFitted
    ridge : OPURidge
        With all that a fit sets but the readout.
    scale, shift : ndarray of shape (q,)
        From the units of training to those of the targets.
    """
    optical = model._optical_
    if optical is None or len(optical.coef) != 1:
        n_codes = 0 if optical is None else len(optical.coef)
        raise ValueError(
            f"a pipeline has one code, and this model shows {n_codes} to a device: fit with "
            "n_codes=1 and prediction='threshold' (or 'draws')."
        )
    (code,) = optical.codes
    make = _steps_of_splits if isinstance(code, SplitCode) else _steps_of_encoder
    ridge._take_as_it_is(optical.coef[0].T)
    ridge.n_features_in_ = len(optical.coef[0])
    readout = LinearReadout(optical.coef[0] * scale, optical.intercept * scale + shift)
    ridge._publish(Solution(readout, optical.alpha, None))
    features = optical.features[code.n_bits]
    return Pipeline([*make(model, code), ("features", features), ("ridge", ridge)])


def _steps_of_encoder(model, code):
    binarizer = SupervisedBinarizer(model.n_bits, scaler="standard")
    binarizer.coef_, binarizer.intercept_ = code.W, code.b
    binarizer.scaler_ = model.scalers_[code.scaler]
    _note_columns(binarizer, model)
    return [("binarizer", binarizer)]


def _steps_of_splits(model, code):
    binarizer = TreeBinarizer(code.n_bits)
    binarizer._made, binarizer.n_bits_ = code.bits, code.n_bits
    for name, value in code.bits.attributes().items():
        setattr(binarizer, name, value)
    _note_columns(binarizer, model)
    # The splits are in scaled columns, which have no names.
    vars(binarizer).pop("feature_names_in_", None)
    return [("scaler", model.scalers_[0]), ("binarizer", binarizer)]


def _note_columns(binarizer, model):
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model, name):
            setattr(binarizer, name, getattr(model, name))
