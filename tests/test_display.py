"""Pictures: what they draw is read back from the axes."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skopu import ConvergenceDisplay, SupervisedBinarizer

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
