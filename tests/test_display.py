"""Pictures: what they draw is read back from the axes."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("x", ["iteration", "n_passes", "seconds"])
def test_curves_are_the_history(fitted, figure, x):
    display = ConvergenceDisplay.from_estimator(fitted, x=x, name="a run", ax=figure.gca())
    np.testing.assert_array_equal(display.line_.get_xdata(), fitted.history_[x])
    np.testing.assert_array_equal(display.line_.get_ydata(), fitted.history_["loss"])
    held_out = display.validation_line_.get_ydata()
    np.testing.assert_array_equal(held_out, fitted.history_["validation_loss"])
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["a run", "a run, held out"]
    assert display.figure_ is figure


def test_own_figure_and_no_validation(fitted, figure):
    history = dict(fitted.history_, validation_loss=[np.nan] * 6)
    display = ConvergenceDisplay(history).plot(color="black")
    assert display.validation_line_ is None
    assert display.ax_.get_legend() is None
    assert display.line_.get_color() == "black"


def test_unknown_axis(fitted):
    with pytest.raises(ValueError, match="x='epochs' is not one of 'iteration', 'n_passes'"):
        ConvergenceDisplay.from_estimator(fitted, x="epochs")
