"""Pictures: what they draw is read back from the axes."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import norm
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from skopu import (
    CodesDisplay,
    ConvergenceDisplay,
    CrossFittedOPURegressor,
    IntervalsDisplay,
    OPUKernelRidge,
    OPURandomFeatures,
    PassesDisplay,
    SupervisedBinarizer,
    ThermometerBinarizer,
)
from skopu.gradients import LeaveOneOut

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture
def figure():
    import matplotlib.pyplot as plt

    yield plt.figure()
    plt.close("all")


@pytest.fixture
def fitted(rng):
    X, y = rng.standard_normal((60, 3)), rng.standard_normal(60)
    model = SupervisedBinarizer(n_bits=4, n_components=8, max_iter=6, early_stopping=True)
    return model.fit(X, y)


@pytest.mark.parametrize("x", ["iteration", "epoch", "n_passes", "seconds"])
def test_curves_are_the_history(fitted, figure, x):
    display = ConvergenceDisplay.from_estimator(fitted, x=x, name="a run", ax=figure.gca())
    np.testing.assert_array_equal(display.line_.get_xdata(), fitted.history_[x])
    np.testing.assert_array_equal(display.line_.get_ydata(), fitted.history_["loss"])
    held_out = display.validation_line_.get_ydata()
    np.testing.assert_array_equal(held_out, fitted.history_["validation_loss"])
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["a run", "a run, held out"]
    assert display.figure_ is figure
    assert display.band_ is None


def test_own_figure_and_no_validation(fitted, figure):
    history = dict(fitted.history_, validation_loss=[np.nan] * 6)
    display = ConvergenceDisplay(history).plot(color="black")
    assert display.validation_line_ is None
    assert display.ax_.get_legend() is None
    assert display.line_.get_color() == "black"


def test_unknown_axis(fitted):
    with pytest.raises(
        ValueError, match="x='epochs' is not one of 'iteration', 'epoch', 'n_passes'"
    ):
        ConvergenceDisplay.from_estimator(fitted, x="epochs")


@pytest.mark.parametrize(("n_rows", "share"), [(200, 0.25), (30, 1.0)])
def test_epochs(rng, n_rows, share):
    """Oracle: rows of a minibatch divided by training rows, times iterations."""
    X, y = rng.standard_normal((n_rows, 3)), rng.standard_normal(n_rows)
    model = SupervisedBinarizer(n_bits=4, n_components=8, max_iter=6, batch_size=50).fit(X, y)
    assert model.history_["epoch"] == [share * i for i in range(1, 7)]


def test_epochs_without_the_rows_held_out(fitted):
    """Oracle: all 54 rows that are left of 60 are in every minibatch."""
    assert fitted.history_["epoch"] == fitted.history_["iteration"]


def history(losses, held_out=np.nan):
    columns = {"iteration": [10, 20, 30], "epoch": [1.0, 2.0, 3.0], "n_passes": [40, 80, 120]}
    return dict(columns, seconds=[0.1, 0.2, 0.3], loss=losses, validation_loss=[held_out] * 3)


def edges_of(band):
    """Lower and upper edge of a band, read from the corners of its polygon."""
    x, y = band.get_paths()[0].vertices.T
    return [[edge(y[x == value]) for value in np.unique(x)] for edge in (np.min, np.max)]


class TestSeveralRuns:
    def test_mean_and_band(self, figure):
        """Oracle: 1 and 100 have the geometric mean 10, their logs the sd log(100) / sqrt 2.

        The third entry agrees in both runs: a band without width.
        """
        runs = [history([1.0, 2.0, 5.0], 1.0), history([100.0, 2.0, 5.0], 4.0)]
        display = ConvergenceDisplay(runs, x="epoch", name="two").plot(figure.gca())
        np.testing.assert_allclose(display.line_.get_xdata(), [1, 2, 3])
        np.testing.assert_allclose(display.line_.get_ydata(), [10, 2, 5])
        factor = 100 ** (1 / np.sqrt(2))
        expected = [[10 / factor, 2, 5], [10 * factor, 2, 5]]
        np.testing.assert_allclose(edges_of(display.band_), expected)
        np.testing.assert_allclose(display.validation_line_.get_ydata(), [2, 2, 2])
        assert display.ax_.get_yscale() == "log"

    def test_losses_not_above_zero(self, figure):
        """Oracle: the arithmetic mean of 0 and 2, and the sample deviation sqrt 2."""
        display = ConvergenceDisplay([history([0.0] * 3), history([2.0] * 3)]).plot(figure.gca())
        np.testing.assert_allclose(display.line_.get_ydata(), [1, 1, 1])
        expected = [[1 - np.sqrt(2)] * 3, [1 + np.sqrt(2)] * 3]
        np.testing.assert_allclose(edges_of(display.band_), expected)
        assert display.ax_.get_yscale() == "linear"

    def test_one_run_is_itself(self, fitted, figure):
        display = ConvergenceDisplay.from_estimators([fitted], ax=figure.gca())
        np.testing.assert_array_equal(display.line_.get_ydata(), fitted.history_["loss"])
        assert display.band_ is None
        assert display.line_.get_label() == "SupervisedBinarizer"

    def test_up_to_the_shortest(self, figure):
        short = {name: column[:2] for name, column in history([4.0] * 3).items()}
        short["seconds"] = [0.3, 0.4]
        runs = [history([1.0] * 3), short]
        display = ConvergenceDisplay(runs, x="seconds").plot(figure.gca(), color="black")
        np.testing.assert_allclose(display.line_.get_xdata(), [0.2, 0.3])
        np.testing.assert_allclose(display.line_.get_ydata(), [2, 2])
        assert display.line_.get_color() == "black"

    def test_what_cannot_be_averaged(self):
        other = dict(history([1.0] * 3), iteration=[1, 2, 3])
        with pytest.raises(ValueError, match=r"did not record at the same iterations.*max_iter"):
            ConvergenceDisplay([history([1.0] * 3), other]).plot()
        with pytest.raises(ValueError, match="no runs to draw: give at least one"):
            ConvergenceDisplay.from_estimators([])

    def test_unfitted(self, fitted):
        with pytest.raises(NotFittedError):
            ConvergenceDisplay.from_estimators([fitted, SupervisedBinarizer()])


def xy(line):
    return np.asarray(line.get_xydata())


class TestIntervals:
    TRUE, PREDICTED = np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.5, 2.5, 2.0, 4.0])
    ENDS = np.array([[1.0, 2.0], [-np.inf, 3.0], [1.0, 2.9], [3.0, np.inf]])

    def test_what_is_drawn(self, figure):
        """Oracle: counted by hand; 3 is outside, an end counts, no end goes to the axes' own."""
        display = IntervalsDisplay.from_predictions(
            self.TRUE, self.PREDICTED, self.ENDS, coverage=0.5, ax=figure.gca()
        )
        np.testing.assert_array_equal(xy(display.points_), [[1.5, 1], [2.5, 2], [4, 9]])
        np.testing.assert_array_equal(xy(display.missed_), [[2, 3]])
        segments = np.array(display.intervals_.get_segments())
        np.testing.assert_array_equal(segments[:, 0, 0], self.PREDICTED)
        np.testing.assert_array_equal(segments[:, :, 1], [[1, 2], [1, 3], [1, 2.9], [3, 9]])
        np.testing.assert_array_equal(xy(display.line_), [[1, 1], [9, 9]])
        assert display.held_ == 0.75
        labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert labels == ["interval for 50%", "target in it, 75%", "outside, 25%"]
        assert display.figure_ is figure

    def test_intervals_of_an_ensemble(self, rng):
        X = rng.standard_normal((60, 3))
        y = X[:, 0] + 0.1 * rng.standard_normal(60)
        model = CrossFittedOPURegressor(4, cv=2, max_iter=10, trees=False, random_state=0)
        model.fit(X[:40], y[:40])
        display = IntervalsDisplay.from_estimator(model, X[40:], y[40:], coverage=0.6)
        expected = model.predict_interval(X[40:], 0.6)
        np.testing.assert_array_equal(display.intervals, expected)
        np.testing.assert_array_equal(display.y_pred, model.predict(X[40:]))
        held = (expected[:, 0] <= y[40:]) & (y[40:] <= expected[:, 1])
        assert display.held_ == held.mean()

    @pytest.mark.parametrize(
        "model",
        [
            GaussianProcessRegressor(optimizer=None, alpha=0.1),
            OPUKernelRidge(kernel="rbf", compute_std=True),
        ],
    )
    def test_intervals_of_a_normal_law(self, model, rng):
        """Oracle: scipy's ``norm.interval``."""
        X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
        display = IntervalsDisplay.from_estimator(model.fit(X, y), X, y, coverage=0.8)
        expected = np.stack(norm.interval(0.8, *model.predict(X, return_std=True)), axis=1)
        np.testing.assert_allclose(display.intervals, expected)

    def test_what_cannot_be_drawn(self):
        X = np.arange(4.0)[:, None]
        with pytest.raises(TypeError, match=r"LinearRegression has no predict_interval.*from_pred"):
            IntervalsDisplay.from_estimator(LinearRegression().fit(X, X[:, 0]), X, X[:, 0])
        with pytest.raises(ValueError, match=r"shape \(4, 2, 1\), not .*outputs one by one"):
            IntervalsDisplay(self.TRUE, self.PREDICTED, self.ENDS[..., None]).plot()
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            IntervalsDisplay(self.TRUE[:3], self.PREDICTED, self.ENDS).plot()


class TestCodes:
    CODES = np.array([[1, 0, 1, 1], [1, 1, 1, 0], [1, 0, 1, 0]])
    FLIPS = np.array([[0.0, 0.0], [0.1, 0.4], [0.5, 0.0], [0.2, 0.3]])

    def test_order(self, figure):
        """Oracle: by hand. Bit 2 looks at column 0; 1 and 3 are 1 in a third of rows, 0 always."""
        display = CodesDisplay(self.CODES, self.FLIPS, target=[3, 1, 2]).plot(ax=figure.gca())
        assert display.bits_.tolist() == [2, 1, 3, 0]
        np.testing.assert_array_equal(display.image_.get_array(), self.FLIPS[[2, 1, 3, 0]])
        labels = [label.get_text() for label in display.ax_.get_yticklabels()]
        assert labels == ["2", "1", "3", "0"]
        display.plot(kind="rows")
        assert display.rows_.tolist() == [1, 2, 0]
        expected = [[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 1, 1]]
        np.testing.assert_array_equal(display.image_.get_array(), expected)
        assert display.ax_.get_ylabel() == "rows, by their target"

    @pytest.mark.parametrize("as_frame", [False, True])
    def test_a_threshold_looks_at_its_column_alone(self, rng, as_frame):
        """Oracle: two values drawn apart differ at a share p of ones with probability 2p(1-p)."""
        X = rng.standard_normal((400, 3))
        X = pd.DataFrame(X, columns=["a", "b", "c"]) if as_frame else X
        model = ThermometerBinarizer(6).fit(X)
        display = CodesDisplay.from_estimator(model, X, random_state=0)
        others = model.columns_[:, None] != np.arange(3)
        assert (display.flips[others] == 0).all()
        p = model.transform(X).mean(axis=0)
        np.testing.assert_allclose(display.flips.max(axis=1), 2 * p * (1 - p), atol=0.08)
        assert model.columns_[display.bits_].tolist() == [0, 0, 1, 1, 2, 2]
        ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
        assert (ticks == ["a", "b", "c"]) == as_frame

    @pytest.mark.parametrize("as_model", [False, True])
    def test_models_and_pipelines(self, rng, as_model):
        """Oracle: the codes that the binarizer itself makes."""
        X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
        codes = ThermometerBinarizer(6)
        model = OPUKernelRidge(binarizer=codes) if as_model else make_pipeline(codes)
        model.fit(X, y)
        display = CodesDisplay.from_estimator(model, X, y, kind="rows", cmap="Blues")
        expected = codes.fit(X).transform(X)[np.argsort(y)][:, display.bits_]
        np.testing.assert_array_equal(display.image_.get_array(), expected)
        assert display.image_.get_cmap().name == "Blues"

    def test_what_cannot_be_drawn(self, rng):
        X = rng.standard_normal((20, 3))
        with pytest.raises(ValueError, match=r"kind='bits' cannot be drawn: give 'rows'"):
            CodesDisplay(self.CODES, self.FLIPS).plot(kind="bits")
        with pytest.raises(ValueError, match=r"kind='columns' .* needs flips"):
            CodesDisplay(self.CODES).plot()
        with pytest.raises(TypeError, match=r"DummyClassifier makes no codes.*binarizer_"):
            CodesDisplay.from_estimator(DummyClassifier().fit(X, X[:, 0] > 0), X)
        with pytest.raises(NotFittedError):
            CodesDisplay.from_estimator(ThermometerBinarizer(), X)
        with pytest.raises(TypeError, match="toarray"):
            CodesDisplay.from_estimator(ThermometerBinarizer(6).fit(X), csr_matrix(X))


class TestPasses:
    def test_what_is_drawn(self, figure):
        """Oracle: by hand. Models of a name are joined from few passes to many."""
        display = PassesDisplay([8, 0, 4, 2], [0.1, 0.3, 0.2, 0.4], ["a", "b", "a", "a"])
        display.plot(figure.gca(), color="black")
        assert list(display.lines_) == ["a", "b"]
        np.testing.assert_array_equal(xy(display.lines_["a"]), [[2, 0.4], [4, 0.2], [8, 0.1]])
        np.testing.assert_array_equal(xy(display.lines_["b"]), [[0, 0.3]])
        assert display.ax_.get_xscale() == "symlog"
        assert display.ax_.get_yscale() == "log"
        assert display.figure_ is figure

    def test_numbers_without_names_or_logarithms(self, figure):
        display = PassesDisplay([0, 0], [0.0, 1.0]).plot(figure.gca())
        assert display.ax_.get_xscale() == display.ax_.get_yscale() == "linear"
        assert display.ax_.get_legend() is None

    def test_of_models(self, rng):
        """Oracle: those of the binarizer alone, one for each row, and the models' own scores."""
        X, y = rng.standard_normal((40, 3)), rng.standard_normal(40)
        codes = SupervisedBinarizer(4, n_components=8, gradient=LeaveOneOut(2), max_iter=5)
        models = [
            OPUKernelRidge(binarizer=codes, n_components=8),
            make_pipeline(codes, OPURandomFeatures(8), OPUKernelRidge()),
            OPUKernelRidge(kernel="rbf"),
        ]
        display = PassesDisplay.from_estimators([m.fit(X, y) for m in models], X, y)
        assert display.passes == [codes.n_passes_ + len(X)] * 2 + [0]
        np.testing.assert_allclose(display.errors, [1 - model.score(X, y) for model in models])
        assert list(display.lines_) == ["OPUKernelRidge", "Pipeline"]

    def test_what_cannot_be_drawn(self):
        with pytest.raises(ValueError, match="the lengths 2, 1 and 2: give one of each"):
            PassesDisplay([1, 2], [0.1], ["a", "b"]).plot()
        with pytest.raises(ValueError, match="at least one model"):
            PassesDisplay.from_estimators([], np.ones((2, 1)), np.ones(2))
