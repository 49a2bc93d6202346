"""Mistakes put into the mathematics one at a time, and whether the tests see them.

A mutation is a file, a text that occurs in it once, what is put in its place, and the tests that
must fail then. Each is made in a copy of the package and its tests, in a folder of its own; only
its tests are run. Printed is what became of it:

- killed: a test failed, as it must;
- survived: all passed, so that nothing holds the formula;
- stale: the text is not there, or more than once, or a test is missing. Write the entry anew.

The exit status is 1 unless all were killed.

    python benchmarks/mutants.py                  # all, some five seconds of the processor each
    python benchmarks/mutants.py --only gamma     # those whose name or file contains this
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from trees import ROOT, copy_here

PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
_KILLED, _SURVIVED = 1, 0  # exit statuses of pytest; others mean that nothing was tested


class Mutant(NamedTuple):
    """A mistake, and the tests that must see it (``tests/`` is left out of their names)."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple


MUTANTS = [
    Mutant(
        "the control variate has seen the draws it corrects",
        "skopu/training/joint.py",
        "            forms = self._wanted_forms()\n",
        "            self.answers.learn()\n            self.answers.mark()\n"
        "            forms = self._wanted_forms()\n",
        ("test_training.py::test_a_control_variate_has_not_seen_the_draws_it_corrects",),
    ),
    Mutant(
        "the quadratic model is never fitted again: first answers",
        "skopu/forms/intensities.py",
        "elif n_held >= 2 * n_fitted and n_fitted < self._n_answers:",
        "elif not n_fitted:",
        ("test_training.py::test_a_control_variate_has_not_seen_the_draws_it_corrects",),
    ),
    Mutant(
        "the quadratic model is never fitted again: later answers",
        "skopu/forms/intensities.py",
        "        if n_held >= self._n_answers:\n            self._fit()\n",
        "        if n_held >= self._n_answers:\n            if n_fitted < self._n_answers:\n"
        "                self._fit()\n",
        ("test_quadratic.py::TestIntensities::test_later_answers_are_fitted_too",),
    ),
    Mutant(
        "the quadratic model never asks for answers again",
        "skopu/forms/intensities.py",
        "self._next_collection = _GROWTH * n_passes",
        'self._next_collection = float("inf")',
        ("test_quadratic.py::TestIntensities::test_answers_are_collected_ever_more_rarely",),
    ),
    Mutant(
        "gamma in joint training, for its square",
        "skopu/training/readout.py",
        "torch.exp(2 * self.log_gamma)",
        "torch.exp(self.log_gamma)",
        ("test_training.py::test_features_are_multiplied_by_the_square_of_gamma",),
    ),
    Mutant(
        "1/sqrt(D) in centered features, for 1/sqrt(D - 1)",
        "skopu/kernel_ridge/features.py",
        "np.sqrt(max(1, self.n_components - 1))",
        "np.sqrt(max(1, self.n_components))",
        ("test_features.py::TestOutput::test_centered_form_is_the_definition",),
    ),
    Mutant(
        "half of the price of the variance in the bound of the cross-entropy",
        "skopu/losses.py",
        "curvature = 0.25",
        "curvature = 0.125",
        ("test_gradients.py::test_price_of_the_variance_is_tight",),
    ),
    Mutant(
        "leave-one-out errors of a learned gamma without the intercept's leverage",
        "skopu/kernel_ridge/gamma.py",
        "(slack - 1 / n_samples)",
        "slack",
        ("test_features.py::TestGamma::test_what_is_minimised",),
    ),
    Mutant(
        "the squared error of feedback alignment, for its half",
        "skopu/dfa/training.py",
        'self._factor = 0.5 if loss == "squared_error" else 1.0',
        "self._factor = 1.0",
        ("test_dfa.py::test_the_loss_of_regression_is_half_the_squared_error",),
    ),
    Mutant(
        "twice the error of a regression is projected",
        "skopu/dfa/training.py",
        "errors = self._factor * self._loss.slope(outputs, targets)",
        "errors = self._loss.slope(outputs, targets)",
        ("test_dfa.py::test_errors_of_regression_are_the_differences",),
    ),
    Mutant(
        "noise scales of codes are not learned",
        "skopu/gradients/relaxed.py",
        "straight_through(scale.detach().clamp(0, 0.5), scale)",
        "scale.detach().clamp(0, 0.5)",
        ("test_relaxed.py::test_noise_scales_of_the_encoder_are_learned",),
    ),
    Mutant(
        "noise scales of binary weights are not learned",
        "skopu/training/binary_weight.py",
        "_clip(self.noise, 0, _MAX_NOISE)",
        "_clip(self.noise, 0, _MAX_NOISE).detach()",
        ("test_binary_layers.py::test_the_noise_scale_has_a_gradient",),
    ),
    Mutant(
        "lambda in the loss of the autoencoder, for its half",
        "skopu/binarizers/tied_autoencoder.py",
        "settings.lambda_reg / 2",
        "settings.lambda_reg",
        ("test_baselines.py::TestAutoencoder::test_what_is_minimised",),
    ),
    Mutant(
        "REBAR without its baseline",
        "skopu/gradients/rebar.py",
        "advantages = costs.values - costs.baselines",
        "advantages = costs.values",
        ("test_gradients.py::test_rebar_has_a_baseline",),
    ),
    Mutant(
        "slopes of REBAR that are not numbers where bits are settled",
        "skopu/gradients/relaxations.py",
        "uniforms.clamp_max(largest)",
        "uniforms",
        ("test_gradients.py::test_rebar_survives_bits_that_are_all_but_settled",),
    ),
    Mutant(
        "row weights are ignored in the temperature",
        "skopu/_core/temperature.py",
        "codes], weights=weights)",
        "codes])",
        ("test_estimation.py::test_weights_count_rows_in_the_temperature",),
    ),
    Mutant(
        "the choice of the penalty is blind to the variance",
        "skopu/training/choice.py",
        "losses += _KAPPA * self._loss.curvature * variance.sum(-1)",
        "pass",
        ("test_training.py::TestChoiceOfPenalty::test_what_candidates_are_judged_by",),
    ),
    Mutant(
        "encoders of the ensemble are trained on rows held out",
        "skopu/cross_fitted/training.py",
        "np.flatnonzero(folds != fold) for fold",
        "np.arange(len(folds)) for fold",
        ("test_cross_fitting.py::test_encoders_do_not_see_the_rows_held_out",),
    ),
    Mutant(
        "readouts of the ensemble are fitted to rows held out",
        "skopu/cross_fitted/readouts.py",
        "rows = np.flatnonzero(self._folds != fold)",
        "rows = np.arange(len(self._folds))",
        ("test_cross_fitting.py::test_readouts_do_not_see_the_rows_held_out",),
    ),
    Mutant(
        "leave-one-out without its baseline",
        "skopu/gradients/score.py",
        "costs.values.detach() - costs.baselines)",
        "costs.values.detach())",
        ("test_gradients.py::test_variances_are_ordered",),
    ),
    Mutant(
        "the residual of equation 11 from the draw's own answer too",
        "skopu/objectives.py",
        "self.loss.slope(mean_of_others(fixed), targets)",
        "self.loss.slope(fixed.mean(0), targets)",
        ("test_gradients.py::test_unbiased_for_squared_error",),
    ),
    Mutant(
        "the flip of Bop as equation 2 of the report prints it",
        "skopu/optim/bop.py",
        '        m = state["momentum"].lerp_(parameter.grad, group["lr"] * group["gamma"])\n'
        '        low, high = group["values"]\n'
        "        downhill = torch.sign(m) == torch.sign(2 * parameter - (low + high))\n",
        '        last = state["momentum"].clone()\n'
        '        m = state["momentum"].lerp_(parameter.grad, group["lr"] * group["gamma"])\n'
        '        low, high = group["values"]\n'
        "        downhill = torch.sign(m) == torch.sign(last)\n",
        ("test_optim.py::test_bop_follows_its_equations",),
    ),
    Mutant(
        "the gradient of XNOR-Net without that of the scale",
        "skopu/discrete/layers.py",
        "scales * nn.functional.hardtanh(w) + w / w.shape[1]",
        "scales * nn.functional.hardtanh(w)",
        ("test_binary_layers.py::test_scaled_signs",),
    ),
    Mutant(
        "the scales of XNOR-Net are forgotten beside the statistics of training",
        "skopu/discrete/training.py",
        "return weight.scales().double()",
        "return 1.0",
        ("test_binary_mlp.py::test_scales_of_neurons_are_kept_with_the_statistics_of_training",),
    ),
    Mutant(
        "signs of BinaryConnect drawn with the sigmoid of the latent weight",
        "skopu/training/binary_weight.py",
        "(latent.detach() + 1) / 2",
        "torch.sigmoid(latent.detach())",
        ("test_binary_layers.py::test_drawn_signs",),
    ),
    Mutant(
        "rectifiers are calibrated behind signs",
        "skopu/discrete/training.py",
        "X = network.activation(H * scale + intercept)",
        "X = sign(H * scale + intercept)",
        ("test_binary_mlp.py::test_statistics_behind_rectifiers_are_theirs",),
    ),
    Mutant(
        "twice the variance of Fourier features",
        "skopu/comparison/peers.py",
        "self.variance / (2 * X.shape[1])",
        "self.variance / X.shape[1]",
        ("test_comparison.py::test_fourier_ridge_is_a_search_over_pipelines_of_scikit_learn",),
    ),
    Mutant(
        "the average of kernel ridges without the shares it chose",
        "skopu/comparison/peers.py",
        "sum(s * ridge.predict(K) for s, ridge in zip(shares, ridges))",
        "sum(ridge.predict(K) for s, ridge in zip(shares, ridges)) / len(self.members_)",
        ("test_comparison.py::test_averaged_kernel_ridge_is_the_average_it_chose",),
    ),
    Mutant(
        "the square of gamma in the kernel, for its fourth power",
        "skopu/kernels.py",
        "K *= gamma**4",
        "K *= gamma**2",
        ("test_kernels.py::test_formula",),
    ),
    Mutant(
        "a tie of quantiles in ONNX has the level of its first knot, not the middle",
        "skopu/deploy/onnx_parts.py",
        "on, gaps = (levels[first] + levels[last]) / 2, np.diff(values)",
        "on, gaps = levels[first], np.diff(values)",
        ("test_onnx.py::test_quantiles_to_the_last_bit_of_a_cut",),
    ),
    Mutant(
        "the ends of quantiles in ONNX are as narrow as a value",
        "skopu/deploy/onnx_parts.py",
        "_AT_THE_END = 1e-7 ",
        "_AT_THE_END = 0.0 ",
        ("test_onnx.py::test_quantiles_to_the_last_bit_of_a_cut",),
    ),
    Mutant(
        "a rule in ONNX holds where one condition of several does",
        "skopu/deploy/onnx_networks.py",
        'holds = graph("Less", counts, np.float64(0.5))',
        'holds = graph("Less", counts, np.float64(1.5))',
        ("test_onnx.py::test_rules",),
    ),
    Mutant(
        "bits in a picture stand in the order of the column that flips them least",
        "skopu/displays/codes.py",
        "flips.argmax(axis=1)",
        "flips.argmin(axis=1)",
        ("test_display.py::TestCodes::test_order",),
    ),
    Mutant(
        "an interval of a normal law is one-sided",
        "skopu/displays/intervals.py",
        "ndtri((1 + coverage) / 2)",
        "ndtri(coverage)",
        ("test_display.py::TestIntervals::test_intervals_of_a_normal_law",),
    ),
    Mutant(
        "columns are weighed by their shares, not by the roots",
        "skopu/binarizers/relevance.py",
        "np.sqrt(shares / np.max(shares))",
        "shares / np.max(shares)",
        ("test_scalings.py::test_a_forest_that_is_grown_already_is_taken",),
    ),
    Mutant(
        "trees of a fold are grown on the rows that it holds out too",
        "skopu/cross_fitted/trees.py",
        "kept = np.flatnonzero(folds != fold)",
        "kept = np.arange(len(folds))",
        ("test_scalings.py::test_weights_are_roots_of_what_a_forest_explains_by_each_column",),
    ),
    Mutant(
        "weights of columns are left out of the encoders that a fit returns",
        "skopu/cross_fitted/training.py",
        "coef[:, place] *= scaling.column_weights[:, None, None]",
        "pass",
        ("test_scalings.py::test_weights_of_columns_end_up_in_the_encoders",),
    ),
    Mutant(
        "rows held out are judged without the weights of columns",
        "skopu/cross_fitted/training.py",
        "W = W if weights is None else W * weights[fold]",
        "pass",
        ("test_scalings.py::test_rows_held_out_are_judged_in_weighed_columns",),
    ),
    Mutant(
        "the worse scalings go on",
        "skopu/cross_fitted/training.py",
        'np.argsort(means, kind="stable")[:_N_SCALINGS]',
        'np.argsort(-means, kind="stable")[:_N_SCALINGS]',
        ("test_scalings.py::test_the_better_two_scalings_go_on",),
    ),
    Mutant(
        "the variance of a half of the draws, for that of the average of both",
        "skopu/end_to_end/draws.py",
        "np.mean((read_out(mean) - read_out(last)) ** 2)",
        "2 * np.mean((read_out(mean) - read_out(last)) ** 2)",
        ("test_end_to_end.py::TestChoiceOfDraws",),
    ),
    Mutant(
        "doubled draws: those before are forgotten",
        "skopu/end_to_end/draws.py",
        "(mean + last) / 2, last",
        "last, last",
        ("test_end_to_end.py::TestChoiceOfDraws::test_the_readout_is_fitted_to_all_of_them",),
    ),
    Mutant(
        "doubled draws meet the strata that were met already",
        "skopu/_core/random.py",
        "halves ^ 1",
        "halves",
        ("test_rows.py",),
    ),
    Mutant(
        "intervals: a new row counts nothing",
        "skopu/cross_fitted/conformal.py",
        "coverage * (reached[-1] + self.own_weight)",
        "coverage * reached[-1]",
        ("test_certainty.py",),
    ),
    Mutant(
        "intervals: residuals about the model of another fold",
        "skopu/cross_fitted/conformal.py",
        "predictions[self.folds, rows, output] + self",
        "predictions[self.folds - 1, rows, output] + self",
        ("test_certainty.py",),
    ),
    Mutant(
        "intervals: rows of a group count as if they were many groups",
        "skopu/cross_fitted/conformal.py",
        "weights / np.bincount(groups, weights=weights)[groups]",
        "weights",
        ("test_certainty.py",),
    ),
    Mutant(
        "p-values: rows of the same score are taken for below",
        "skopu/cross_fitted/conformal.py",
        'np.searchsorted(sorted_scores, own, side="left")',
        'np.searchsorted(sorted_scores, own, side="right")',
        ("test_certainty.py",),
    ),
    Mutant(
        "how sure: the noise of a new target is forgotten",
        "skopu/ridge/posterior.py",
        "self.noise * (1 + self._share + leverage",
        "self.noise * (self._share + leverage",
        ("test_certainty.py::test_gaussian_process",),
    ),
    Mutant(
        "how sure: the variance of the intercept is forgotten",
        "skopu/ridge/posterior.py",
        "1 / system.weight if system.fit_intercept else 0.0",
        "0.0",
        ("test_certainty.py::test_gaussian_process",),
    ),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="those whose name or file contains this")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if arguments.only in mutant.name + mutant.file]
    fates = []
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_with_tests(Path(folder))
        for mutant in chosen:
            fates.append(fate(mutant, copy))
            print(f"{fates[-1]:9s}{mutant.name} ({mutant.file})", flush=True)
    counts = [f"{fates.count(name)} {name}" for name in ("killed", "survived", "stale")]
    print(", ".join(counts))
    return 0 if set(fates) <= {"killed"} else 1


def copy_with_tests(folder):
    """Return a folder with the package, its tests and their settings, as they are now."""
    copy_here(folder)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def fate(mutant, folder):
    """Make a mutation in the copy, run its tests, and take it back."""
    if why_stale(mutant, folder):
        return "stale"
    path = folder / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        tests = [f"tests/{test}" for test in mutant.tests]
        done = subprocess.run([*PYTEST, *tests], cwd=folder, capture_output=True, check=False)
    finally:
        path.write_text(text)
    return {_KILLED: "killed", _SURVIVED: "survived"}.get(done.returncode, "stale")


def why_stale(mutant, folder):
    """Return why a mutation cannot be made or judged, or an empty text."""
    n_places = (folder / mutant.file).read_text().count(mutant.old)
    if n_places != 1:
        return f"the text is in {mutant.file} {n_places} times"
    for test in mutant.tests:
        file, *names = test.split("::")
        text = (folder / "tests" / file).read_text()
        missing = [name for name in names if not re.search(rf"(def|class) {name}\b", text)]
        if missing:
            return f"{missing[0]} is not in {file}"
    return "" if mutant.tests else "no test is named"


if __name__ == "__main__":
    sys.exit(main())
