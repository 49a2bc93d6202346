"""SupervisedBinarizer: what it learns, what it keeps, how it fails."""

import warnings

import numpy as np
import pytest
import sklearn
import torch
from oracles import BlackBox, Flaky, Hardware, Interrupting
from scipy import stats
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

from skopu import (
    HyperplaneBinarizer,
    OPUKernelRidge,
    OPURandomFeatures,
    SupervisedBinarizer,
    ThermometerBinarizer,
)
from skopu.exceptions import DeviceFault, IncompatiblePartsError, InterruptedFitWarning
from skopu.gradients import GRADIENTS, LeaveOneOut, Reinforce, resolve_gradient

X, y = make_friedman1(300, n_features=6, random_state=0)
X.flags.writeable = False
OLD = parse_version(sklearn.__version__) < parse_version("1.8")
SMALL = SupervisedBinarizer(n_bits=16, n_components=64, max_iter=40, random_state=0)


def chain_error(binarizer, scale=1.0):
    """Test MSE of the three steps, over that of predicting the mean."""
    target = scale * y
    codes = binarizer.fit(X[:200], target[:200]).transform(X)
    features = OPURandomFeatures(512).fit_transform(codes)
    model = OPUKernelRidge("loo").fit(features[:200], target[:200])
    return np.mean((model.predict(features[200:]) - target[200:]) ** 2) / target[200:].var()


class TestLearning:
    def test_learned_codes_beat_random_ones(self):
        """Oracle: random hyperplanes through the same features and ridge."""
        learned = chain_error(SupervisedBinarizer(n_bits=32, n_components=256, random_state=0))
        random = np.mean([chain_error(HyperplaneBinarizer(32, random_state=s)) for s in range(5)])
        assert learned < 0.6 * random

    def test_classes(self):
        X, y = load_breast_cancer(return_X_y=True)
        binarizer = clone(SMALL).set_params(max_iter=150).fit(X[:300], y[:300])
        assert binarizer.loss_ == "cross_entropy"
        history = binarizer.history_["loss"]
        assert history[-1] < 0.3 * history[0]

    @pytest.mark.parametrize("objective", ["isolated", 0.3])
    def test_other_objectives_reduce_their_loss(self, objective):
        history = clone(SMALL).set_params(objective=objective, max_iter=150).fit(X, y).history_
        assert history["loss"][-1] < 0.5 * history["loss"][0]

    @pytest.mark.parametrize("gradient", ["loo", "quadratic"])
    @pytest.mark.parametrize("opu", [Hardware(gain=0.01), Hardware(gain=255.0)])
    def test_gain_of_the_camera_does_not_matter(self, opu, gradient):
        """Oracle: the same matrix with gain 1, up to float32 rounding of the scaling."""
        small = clone(SMALL).set_params(gradient=gradient, max_iter=5)
        expected = clone(small).set_params(opu=BlackBox()).fit(X, y).coef_
        found = small.set_params(opu=opu).fit(X, y).coef_
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)

    @pytest.mark.parametrize("scale", [1e-3, 1e3])
    def test_scale_of_the_target_does_not_matter(self, scale):
        expected = clone(SMALL).set_params(max_iter=5).fit(X, y).coef_
        found = clone(SMALL).set_params(max_iter=5).fit(X, 7 + scale * y).coef_
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("name", GRADIENTS)
    def test_every_gradient_learns_and_counts(self, name):
        """Oracles: the loss at the start, and the passes each estimator says it makes."""
        binarizer = clone(SMALL).set_params(gradient=name, max_iter=60, encoder_penalty=1e-3)
        binarizer.fit(X, y)
        losses, gradient = binarizer.history_["loss"], resolve_gradient(name)
        assert np.mean(losses[-5:]) < 0.75 * losses[0]
        expected = 0
        if gradient.uses_device:  # once for every row to measure the features, then each step
            expected = len(X) + 60 * 128 * gradient.n_passes(16)
        assert binarizer.n_passes_ == expected

    def test_gradient_may_be_an_object(self):
        binarizer = clone(SMALL).set_params(gradient=Reinforce(n_draws=1), max_iter=3).fit(X, y)
        assert binarizer.gradient_.n_draws == 1
        assert binarizer.gradient_ is not binarizer.gradient

    @pytest.mark.parametrize(("learn_gamma", "shape"), [("scalar", ()), ("feature", (65,))])
    def test_gamma_is_learned(self, learn_gamma, shape):
        gamma = clone(SMALL).set_params(learn_gamma=learn_gamma).fit(X, y).gamma_
        assert np.shape(gamma) == shape
        assert np.all(np.asarray(gamma) > 0)
        assert not np.allclose(gamma, 1)


class TestCodes:
    def test_transform_is_the_most_probable_code(self):
        binarizer = clone(SMALL).fit(X, y)
        p = binarizer.bit_probabilities(X)
        codes = binarizer.transform(X)
        assert codes.dtype == np.uint8
        np.testing.assert_array_equal(codes, p > 0.5)
        logits = binarizer.scaler_.transform(X) @ binarizer.coef_.T + binarizer.intercept_
        np.testing.assert_allclose(p, expit(logits))

    def test_samples_follow_the_probabilities(self):
        """Oracle: p; 4000 draws of 5 x 16 bits, 5.5 standard errors: rate 3e-6, seed fixed."""
        binarizer = clone(SMALL).fit(X, y)
        draws = binarizer.sample(X[:5], n_draws=4000, random_state=0)
        p = binarizer.bit_probabilities(X[:5])
        assert draws.shape == (4000, 5, 16)
        assert (np.abs(draws.mean(0) - p) <= 5.5 * np.sqrt(p * (1 - p) / 4000) + 1e-3).all()
        np.testing.assert_array_equal(draws, binarizer.sample(X[:5], n_draws=4000, random_state=0))

    def test_start_of_the_encoder(self):
        """Oracle: logits of spread 2, thresholds at quantiles between 10 and 90 %."""
        import torch

        from skopu.training.encoders import LinearEncoder

        encoder = LinearEncoder(6, 200)
        inputs = torch.from_numpy(X.astype(np.float32))
        encoder.start(inputs, seed=0)
        logits = encoder(inputs).detach().numpy()
        np.testing.assert_allclose(logits.std(0), 2, rtol=1e-3)
        share = (logits > 0).mean(0)
        assert share.min() > 0.08
        assert share.max() < 0.92
        # Uniform between 0.1 and 0.9: Kolmogorov-Smirnov, false-alarm rate 1e-4, seed fixed.
        assert stats.kstest(share, stats.uniform(0.1, 0.8).cdf).pvalue > 1e-4

    @pytest.mark.parametrize(("where", "n_cuts"), [("thresholds", 24), ("mixed", 12)])
    def test_start_at_thresholds(self, where, n_cuts):
        """Oracle: the codes of a thermometer; logits of slope 10 for a standard deviation."""
        import torch

        from skopu.training.encoders import LinearEncoder

        encoder, usual = LinearEncoder(6, 24, where), LinearEncoder(6, 24)
        inputs = torch.from_numpy(3 * X)
        encoder.double().start(inputs, seed=0)
        usual.double().start(inputs, seed=0)
        expected = ThermometerBinarizer(n_cuts).fit_transform(3 * X)
        logits = encoder(inputs).detach().numpy()
        np.testing.assert_array_equal(logits[:, :n_cuts] > 0, expected)
        np.testing.assert_allclose(logits[:, :n_cuts].std(0), 10)
        np.testing.assert_array_equal(logits[:, n_cuts:], usual(inputs).detach()[:, n_cuts:])

    def test_start_where_columns_have_few_values(self):
        """Oracle: two thresholds in all; the other bits are hyperplanes. Codes are learned."""
        rows = np.column_stack([np.arange(60) % 3, np.full(60, 7.0)])
        model = clone(SMALL).set_params(start="thresholds", max_iter=3, n_bits=8)
        model.fit(rows, rows[:, 0] ** 2)
        assert np.isfinite(model.coef_).all()
        assert (model.coef_[:2, 1] == 0).all()
        assert not np.array_equal(model.transform(rows)[0], model.transform(rows)[2])

    def test_binary_weights_have_no_thresholds_to_start_at(self):
        model = clone(SMALL).set_params(start="mixed", weights="binary", max_iter=1)
        with pytest.raises(IncompatiblePartsError, match="start='hyperplanes' or weights='real'"):
            model.fit(X, y)
        assert model.set_params(start="auto").fit(X, y).start_ == "hyperplanes"

    @pytest.mark.parametrize("penalty", [1e-3, "auto"])
    def test_start_is_chosen_on_rows_held_out(self, penalty):
        """Oracle: a table of cells says nothing to hyperplanes; a plane, all.

        And the fit that is told the start: the same one.
        """
        rng = np.random.default_rng(0)
        cells = rng.integers(0, 5, size=(240, 3)).astype(float)
        table = rng.normal(size=(3, 5))
        targets = {
            "thresholds": table[[0, 1, 2], cells.astype(int)].sum(axis=1),
            "hyperplanes": np.tanh(cells @ [1.0, -1.0, 0.5]),
        }
        for start, target in targets.items():
            model = clone(SMALL).set_params(start="auto", max_iter=200, encoder_penalty=penalty)
            model.fit(cells, target)
            assert model.start_ == start
            if start == "thresholds":
                told = clone(model).set_params(start=start).fit(cells, target)
                np.testing.assert_array_equal(told.coef_, model.coef_)

    def test_fit_transform_is_fit_and_transform(self):
        small = clone(SMALL).set_params(max_iter=3)
        expected = small.fit(X, y).transform(X)
        np.testing.assert_array_equal(clone(small).fit_transform(X, y), expected)
        frame = pytest.importorskip("pandas").DataFrame(X, index=np.arange(len(X)) + 7)
        frame.columns = list("abcdef")
        found = clone(small).set_output(transform="pandas").fit_transform(frame, y)
        assert list(found.index[:2]) == [7, 8]
        np.testing.assert_array_equal(found, expected)


class TestWhole:
    """A fit is whole or leaves the model as it was. Oracle: the attributes before."""

    def test_a_failed_first_fit_leaves_nothing(self):
        model = clone(SMALL)
        with pytest.raises(IncompatiblePartsError):
            model.set_params(gradient=Reinforce(1), objective="isolated").fit(X, y)
        assert not [name for name in vars(model) if name.endswith("_")]

    def test_a_failed_refit_leaves_the_last_model(self):
        model = clone(SMALL).set_params(max_iter=2).fit(X, y)
        expected = model.transform(X)
        with pytest.raises(ValueError, match="one class only"):
            model.fit(X[:, :3], np.zeros(len(X), dtype=int))
        np.testing.assert_array_equal(model.transform(X), expected)

    @pytest.mark.parametrize(("dies_at", "n_iter"), [(1, 2), (13, 1)])
    def test_a_fault_leaves_what_was_learned(self, dies_at, n_iter):
        """Before the first minibatch there is nothing but the last model; then a new one."""
        machine = Flaky()
        model = clone(SMALL).set_params(opu=machine, max_iter=2, batch_size=50).fit(X, y)
        before = model.transform(X)
        machine.dies_at = machine.n_calls + dies_at
        with pytest.raises(DeviceFault):
            model.set_params(random_state=1, max_iter=5).fit(X, y)
        assert model.n_iter_ == n_iter
        assert (model.transform(X) == before).all() == (dies_at == 1)


class TestScaling:
    def test_quantiles_take_the_grip_from_spikes(self):
        """Oracle: the same data without the spike."""
        spiked = X.copy()
        spiked[0, 0] = 1e6
        for scaler, agreement in (("quantile", 0.95), ("standard", 0.9)):
            model = clone(SMALL).set_params(scaler=scaler, max_iter=5)
            same = model.fit(spiked, y).transform(spiked) == clone(model).fit(X, y).transform(X)
            assert (same.mean() > agreement) == (scaler == "quantile")

    def test_quantiles_are_clipped(self):
        scaler = clone(SMALL).set_params(scaler="quantile", max_iter=2).fit(X, y).scaler_
        assert np.abs(scaler.transform(100 * X)).max() == 3

    def test_none_leaves_inputs_alone(self):
        assert clone(SMALL).set_params(scaler=None, max_iter=2).fit(X, y).scaler_ is None

    def test_constant_columns_and_targets(self):
        constant = np.hstack([X, np.ones((len(X), 1))])
        binarizer = clone(SMALL).fit(constant, np.full(len(X), 3.0))
        assert np.isfinite(binarizer.coef_).all()


class TestRun:
    def test_history_and_passes(self):
        """Oracle: start with 200 rows, then S draws of a minibatch at each iteration."""
        device = Hardware()
        binarizer = clone(SMALL).set_params(opu=device, max_iter=30, batch_size=50)
        binarizer.fit(X[:200], y[:200])
        history = binarizer.history_
        assert binarizer.n_iter_ == 30
        assert binarizer.n_passes_ == 200 + 30 * 50 * 4 == device.n_passes
        assert history["n_passes"][-1] == binarizer.n_passes_
        assert history["iteration"] == list(range(1, 31))
        assert np.isnan(history["validation_loss"]).all()
        assert {len(column) for column in history.values()} == {30}

    def test_early_stopping_keeps_the_best_state(self):
        """Oracle: the validation loss that was recorded; the noise leaves nothing to learn."""
        noise = np.random.default_rng(0).standard_normal(len(X))
        binarizer = clone(SMALL).set_params(
            early_stopping=True, max_iter=400, n_iter_no_change=5, validation_fraction=0.3
        )
        binarizer.fit(X, noise)
        losses = binarizer.history_["validation_loss"]
        assert binarizer.n_iter_ < 400
        assert len(losses) - 1 - int(np.argmin(losses)) == 5

    def test_interruption_keeps_the_best_state(self):
        """Oracle: what training leaves when it is not interrupted, and the message."""
        device = Interrupting(calls=25)
        with pytest.warns(InterruptedFitWarning, match="interrupted at iteration 24 of 40"):
            binarizer = clone(SMALL).set_params(opu=device).fit(X, y)
        assert binarizer.n_iter_ == 24
        assert len(binarizer.history_["loss"]) == 23
        assert binarizer.transform(X).shape == (300, 16)

    def test_divergence_keeps_a_finite_state(self):
        with pytest.warns(ConvergenceWarning, match=r"not finite at iteration.*lower learning_r"):
            binarizer = (
                clone(SMALL).set_params(readout_learning_rate=1e30, readout_penalty=0).fit(X, y)
            )
        assert np.isfinite(binarizer.coef_).all()

    def test_same_seed_same_codes(self):
        first, second = (clone(SMALL).fit(X, y) for _ in range(2))
        np.testing.assert_array_equal(first.coef_, second.coef_)
        other = clone(SMALL).set_params(random_state=1).fit(X, y)
        assert np.abs(first.coef_ - other.coef_).max() > 0.1

    def test_order_and_repetition_of_rows(self):
        """Oracle: the contract of sample_weight, bit by bit."""
        rng = np.random.default_rng(1)
        weights = rng.integers(0, 4, size=len(X))
        repeated = np.repeat(np.arange(len(X)), weights)
        shuffled = rng.permutation(len(X))
        expected = clone(SMALL).fit(X[repeated], y[repeated]).coef_
        found = clone(SMALL).fit(X[shuffled], y[shuffled], sample_weight=weights[shuffled]).coef_
        np.testing.assert_array_equal(found, expected)

    def test_progress_is_shown_when_asked_for(self, capsys):
        clone(SMALL).set_params(max_iter=3).fit(X, y)
        assert capsys.readouterr() == ("", "")
        clone(SMALL).set_params(max_iter=3, verbose=1).fit(X, y)
        shown = capsys.readouterr()
        assert "training encoder: 100%" in shown.err
        assert "passes=" in shown.err
        assert shown.out == ""

    def test_global_generators_are_left_alone(self):
        import torch

        before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
        clone(SMALL).set_params(max_iter=2).fit(X, y)
        after = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
        np.testing.assert_array_equal(before[0], after[0])
        assert torch.equal(before[1], after[1])


class TestPrecisionAndPlace:
    @pytest.mark.parametrize("gradient", ["loo", "quadratic", "rebar", "gumbel", "exact"])
    def test_both_precisions_learn_the_same(self, gradient):
        """Oracle: each other. Draws differ, so losses agree to 15 %; exact has none, to 1 %."""
        losses = []
        for dtype in ("float32", "float64"):
            binarizer = clone(SMALL).set_params(gradient=gradient, dtype=dtype, max_iter=200)
            losses.append(binarizer.fit(X, y).history_["loss"][-1])
        assert losses[0] == pytest.approx(losses[1], rel=0.01 if gradient == "exact" else 0.15)

    def test_float32_input(self):
        """Oracle: the same rows as float64, whose minibatches come in another order."""
        # With a given penalty: the folds that choose one are of rows in another order, too.
        small = clone(SMALL).set_params(gradient="exact", max_iter=200, encoder_penalty=0.01)
        losses = [small.fit(rows, y).history_["loss"] for rows in (X, X.astype(np.float32))]
        assert np.mean(losses[0][-20:]) == pytest.approx(np.mean(losses[1][-20:]), rel=0.15)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
    @pytest.mark.parametrize("gradient", ["loo", "quadratic", "rebar", "exact"])
    def test_cuda_learns_the_same(self, gradient):
        """Oracle: training on the processor; the draws of the two differ."""
        losses = []
        for torch_device in ("cpu", "cuda"):
            binarizer = clone(SMALL).set_params(gradient=gradient, torch_device=torch_device)
            losses.append(binarizer.fit(X, y).history_["loss"][-1])
        assert losses[0] == pytest.approx(losses[1], rel=0.15)

    def test_any_number_of_jobs(self):
        """Oracle: the same search with one job; every number is equal."""
        scores = []
        for n_jobs in (1, 2):
            chain = make_pipeline(clone(SMALL).set_params(max_iter=20), Ridge())
            grid = {"supervisedbinarizer__gradient": ["loo", "quadratic"]}
            search = GridSearchCV(chain, grid, cv=2, n_jobs=n_jobs).fit(X, y)
            scores.append(search.cv_results_["mean_test_score"])
        np.testing.assert_array_equal(*scores)


class TestBadInput:
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, bad):
        data = X.copy()
        data[0, 0] = bad
        with pytest.raises(ValueError, match="Input X contains"):
            clone(SMALL).fit(data, y)
        with pytest.raises(ValueError, match="Input y contains"):
            clone(SMALL).fit(X, np.where(np.arange(len(y)) == 0, bad, y))

    def test_wrong_width(self):
        binarizer = clone(SMALL).set_params(max_iter=1).fit(X, y)
        with pytest.raises(ValueError, match="X has 5 features, but SupervisedBinarizer is exp"):
            binarizer.transform(X[:, :5])

    def test_complex_and_text(self):
        with pytest.raises(ValueError, match="Complex data not supported"):
            clone(SMALL).fit(X + 1j, y)
        with pytest.raises(ValueError, match="could not convert string to float"):
            clone(SMALL).fit(np.full((300, 2), "text"), y)

    def test_one_class(self):
        with pytest.raises(ValueError, match="y has one class only, 'a'"):
            clone(SMALL).fit(X, np.full(len(X), "a"))

    @pytest.mark.parametrize("n_bits", [0, -3, 2.5, None])
    def test_n_bits(self, n_bits):
        with pytest.raises(ValueError, match="The 'n_bits' parameter of SupervisedBinarizer must"):
            clone(SMALL).set_params(n_bits=n_bits).fit(X, y)

    def test_one_draw_with_leave_one_out(self):
        with pytest.raises(ValueError, match=r"at least 2, got 1, since a draw's baseline is made"):
            clone(SMALL).set_params(gradient=LeaveOneOut(n_draws=1)).fit(X, y)
        with pytest.raises(ValueError, match="at least 2, got 1"):
            clone(SMALL).set_params(gradient__n_draws=1).fit(X, y)

    def test_one_draw_with_isolated(self):
        with pytest.raises(IncompatiblePartsError, match="use n_draws=2 or more"):
            clone(SMALL).set_params(gradient=Reinforce(1), objective="isolated").fit(X, y)

    def test_unknown_gradient(self):
        with pytest.raises(ValueError, match=r"gradient='lo' is not known\. Did you mean 'loo'\?"):
            clone(SMALL).set_params(gradient="lo").fit(X, y)

    def test_missing_target(self):
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            clone(SMALL).fit(X, None)

    def test_quantiles_of_sparse_input(self):
        from scipy.sparse import csr_array

        with pytest.raises(ValueError, match="scaler='quantile' needs dense X"):
            clone(SMALL).set_params(scaler="quantile").fit(csr_array(X), y)

    def test_held_out_part_leaves_no_rows(self):
        with pytest.raises(ValueError, match="leaves none to train on"):
            clone(SMALL).set_params(early_stopping=True).fit(X[:1], y[:1])

    @pytest.mark.skipif(OLD, reason="scikit-learn does not warn of such labels before 1.8")
    def test_whole_numbers_as_labels_are_doubtful(self):
        """Oracle: scikit-learn's own warning about as many classes as rows."""
        with pytest.warns(UserWarning, match="number of unique classes is greater than 50%"):
            clone(SMALL).set_params(max_iter=1).fit(X, np.maximum(np.arange(len(y)), 20))
        with pytest.raises(ValueError, match=r"labels must have shape \(n_samples,\)"):
            clone(SMALL).fit(X, np.column_stack([y, y]).astype(int))

    def test_nullable_integers_are_labels(self):
        pd = pytest.importorskip("pandas")
        labels = pd.Series((y > y.mean()).astype(int), dtype="Int64")
        assert clone(SMALL).set_params(max_iter=1).fit(X, labels).loss_ == "cross_entropy"

    def test_misspelt_device(self):
        with pytest.raises(ValueError, match=r"opu='simulatd' is not known.*'simulated'"):
            clone(SMALL).set_params(opu="simulatd").set_params(opu__random_state=1)

    @pytest.mark.parametrize(
        ("scaler", "factor", "message"),
        [
            ("standard", 1e200, "X cannot be standardised"),
            (None, 1e50, "beyond the range of float"),
        ],
    )
    def test_overflow_is_named(self, scaler, factor, message):
        with pytest.raises(ValueError, match=message):
            clone(SMALL).set_params(scaler=scaler, max_iter=1).fit(X * factor, y)
        with pytest.raises(ValueError, match="sample_weight adds up to more than a float"):
            clone(SMALL).fit(X, y, sample_weight=np.full(len(y), 1e308))

    def test_float_labels_are_quantities(self):
        """As the documentation says: the type of y decides, never its values."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            binarizer = clone(SMALL).set_params(max_iter=1).fit(X, np.round(y / 10))
        assert binarizer.loss_ == "squared_error"
