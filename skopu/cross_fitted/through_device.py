"""The ensemble through a device: which features, how many passes, and where a fit left off."""

from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from sklearn.pipeline import Pipeline

from skopu._core.random import dither, draw_seeds
from skopu.binarizers.supervised import SupervisedBinarizer
from skopu.cross_fitted.answers import Answers
from skopu.cross_fitted.code_choice import choose_codes
from skopu.cross_fitted.optical_readout import OpticalReadout, ReadoutFit, probabilities
from skopu.kernel_ridge.alpha import Solution
from skopu.kernel_ridge.features import OPURandomFeatures
from skopu.ridge.readout import LinearReadout

# Parameters that change nothing of what a fit that was cut short has done.
_FREE = ("opu", "torch_device", "verbose", "warm_start", "random_state")


@dataclass
class Job:
    """A fit in progress: what was trained, and what the device has answered."""

    fingerprint: str
    seeds: list
    trained: Any = None
    answers: Answers | None = None


def fingerprint_of(model, *rows):
    """Return a hash of rows and of the parameters that a job depends on."""
    params = model.get_params(deep=False)
    return joblib.hash([rows, {name: params[name] for name in params if name not in _FREE}])


def open_features(model, n_rows):
    """Return fitted features, after checking the device's size and budget; None for a mean."""
    if model.prediction == "mean":
        return None
    features = OPURandomFeatures(model.n_components, opu=model.opu, binarize=None)
    device = features._open(model.n_bits)
    n_draws = model.n_draws if model.prediction == "draws" else 1
    # Before an hour of training: if the passes are not there, it is known now.
    device._check_budget(n_rows * n_draws * model.n_codes)
    return features.set_params(opu=device)._fit_bits(model.n_bits, device)


def answers_for(model, job, selector):
    """Return the ``Answers`` of a job, chosen and begun if they are not yet."""
    if job.answers is None:
        encoders = choose_codes(selector, model.n_codes)
        draw_seed, centre_seed = draw_seeds(job.seeds[-1], 2)
        thresholds = _thresholds(model, len(encoders), draw_seed)
        n_rows, n_folds = len(selector.Y), selector.n_folds
        job.answers = Answers(encoders, n_rows, n_folds, thresholds, centre_seed)
    return job.answers


def sharpness(prediction):
    """Return the factor of logits before codes are drawn.

    Exact training counts the variance of the codes as that of a mean, where a drawn bit that is
    all but undecided does no harm. Through a device it does: with 8 codes and 10 draws, factors of
    1, 1.5, 2, 3 gave on energy .0030, .0025, .0028, .0026, on yacht .00103, .00074, .00108,
    .00110, on boston .118, .114, .121, .124.
    """
    return 1.5 if prediction == "draws" else 1.0


def _thresholds(model, n_codes, seed):
    if model.prediction == "threshold":
        return [np.full((1, 1), 0.5)] * n_codes
    together = dither(model.n_draws, n_codes * model.n_bits, seed)
    return np.split(together, n_codes, axis=1)


def read_answers(answers, features, selector, factor, verbose):
    """Ask the device for all answers and fit a readout to them.

    Returns
    -------
    readout : OpticalReadout
    fit : ReadoutFit
    """
    # Loaded here, so that importing the package stays light.
    from tqdm.auto import tqdm

    used, models = tuple(answers.encoders.T), selector.models
    W, b = factor * models.coef[used], factor * models.intercept[used]

    def probabilities_of(code, rows):
        return probabilities(
            selector.codes.copies[answers.encoders[code, 1]][rows], W[code], b[code]
        )

    with tqdm(total=answers.n_passes, disable=not verbose, desc="passes", unit="pass") as bar:
        answers.gather(features, probabilities_of, bar.update)
    fit = ReadoutFit(answers, selector.Y, selector.weights, selector.folds)
    readout = OpticalReadout(
        features,
        answers.encoders[:, 1],
        answers.encoders[:, 0],
        W,
        b,
        answers.thresholds,
        fit.coef,
        fit.intercept,
        fit.fold_coef,
        fit.fold_intercept,
        fit.alpha,
        fit.error,
    )
    return readout, fit


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
    scaler = model.scalers_[optical.scaler[0]]
    binarizer = SupervisedBinarizer(model.n_bits, scaler="standard")
    binarizer.coef_, binarizer.intercept_ = optical.W[0], optical.b[0]
    binarizer.scaler_ = scaler
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model, name):
            setattr(binarizer, name, getattr(model, name))
    ridge._take_as_it_is(optical.coef[0].T)
    ridge.n_features_in_ = len(optical.coef[0])
    readout = LinearReadout(optical.coef[0] * scale, optical.intercept * scale + shift)
    ridge._publish(Solution(readout, optical.alpha, None))
    steps = ("binarizer", binarizer), ("features", optical.features), ("ridge", ridge)
    return Pipeline(list(steps))
