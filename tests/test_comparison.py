"""Problems, methods, runner and reports of the comparison."""

import json
import os
import re
import sys
import tomllib
import warnings
from dataclasses import replace
from importlib.machinery import ModuleSpec
from itertools import product
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.kernel_approximation import RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ParameterSampler,
    cross_val_predict,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skopu import EndToEndOPURegressor, SupervisedBinarizer
from skopu.comparison.csv_files import read_csv_problem
from skopu.comparison.figure import check_figure_path, draw
from skopu.comparison.methods import (
    METHODS,
    Method,
    Settings,
    make_estimator,
)
from skopu.comparison.peers import (
    AveragedKernelRidge,
    QuantileInputs,
    RBFGaussianProcess,
    SignedTargetsClassifier,
    TunedFourierRidge,
    TunedKernelRidge,
)
from skopu.comparison.problems import (
    BUNDLED,
    InputError,
    Problem,
    check_splittable,
    load_bundled,
    load_named,
    subsample,
)
from skopu.comparison.report import (
    as_dict,
    by_error,
    format_error,
    markdown_table,
    remarks,
    summarise,
    text_table,
)
from skopu.comparison.runner import Record, fit_once, run, split_problem
from skopu.displays.passes import count_passes
from skopu.exceptions import InterruptedFitWarning

TINY = Settings(n_bits=6, n_components=16, max_iter=3, n_draws=2)


def small_problem(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3))
    return Problem("small", X, X[:, 0] * X[:, 1] + X[:, 2], "regression")


class Mean(BaseEstimator):
    """Predicts the mean; fails, warns or stops on demand."""

    def __init__(self, error=None, warning=None):
        self.error = error
        self.warning = warning

    def fit(self, X, y):
        if self.error is not None:
            raise self.error
        if self.warning is not None:
            warnings.warn(self.warning, stacklevel=2)
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def mean_method(label="Mean", **kwargs):
    return Method(label, lambda task, settings, seed: Mean(**kwargs))


def write(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return str(path)


def mixed_table(n_rows=60):
    """A table with every kind of column, written by hand."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"number": rng.normal(size=n_rows).round(3)})
    frame["colour"] = np.resize(["red", "green", "blue"], n_rows)
    frame["flag"] = np.resize([True, False], n_rows)
    frame["day"] = pd.date_range("2024-01-01", periods=n_rows).strftime("%Y-%m-%d")
    frame["serial"] = [f"S{i:04}" for i in range(n_rows)]
    frame["id"] = range(n_rows)
    frame["same"] = 7
    frame["price"] = rng.normal(size=n_rows).round(3)
    return frame


# Problems


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_can_be_split(name):
    """Oracle: the sets' documentation; diabetes is the one regression."""
    problem = load_bundled(name)
    check_splittable(problem, 0.2)
    assert problem.is_classification == (name != "diabetes")
    assert len(problem.classes) == (len(np.unique(problem.y)) if problem.is_classification else 0)


def test_subsample_keeps_rows_of_the_documented_permutation():
    """Oracle: the formula in the docstring."""
    problem = small_problem()
    kept = subsample(problem, 10)
    rows = np.random.default_rng(0).permutation(60)[:10]
    assert np.array_equal(kept.X, problem.X[rows])
    assert np.array_equal(kept.y, problem.y[rows])
    assert kept.notes == ("10 of 60 rows are used, drawn at random (change with --max-rows).",)
    assert subsample(problem, 60) is problem


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        (np.arange(10.0), (), r"p has 10 usable row\(s\), and a comparison needs 20 or more"),
        (np.ones(30), (), r"the target of p is constant \(1 in every row\)"),
        (np.zeros(30, int), ("a",), r"has one class only \('a' in every row\)"),
        (np.r_[np.zeros(29, int), 1], ("a", "b"), r"1 of the 2 classes .* single row .*'b'"),
        (np.repeat(np.arange(10), 3), tuple("abcdefghij"), r"has 10 classes but only 6 of 30"),
    ],
)
def test_what_cannot_be_split_is_refused(y, classes, message):
    """Oracle: messages written here."""
    task = "classification" if classes else "regression"
    with pytest.raises(InputError, match=message):
        check_splittable(Problem("p", np.zeros((len(y), 1)), y, task, classes=classes), 0.2)


# CSV files


def test_csv_columns_become_numbers(tmp_path):
    """Oracle: the table's own definition, column by column."""
    frame = mixed_table()
    frame.loc[3, "number"] = np.nan
    frame.loc[4, "colour"] = np.nan
    frame.loc[5, "price"] = np.nan
    frame.to_csv(tmp_path / "table.csv", index=False)
    problem = read_csv_problem(str(tmp_path / "table.csv"), "price")
    assert (problem.name, problem.task, len(problem.y)) == ("table", "regression", 59)
    assert list(problem.X.columns) == ["number", "colour", "flag", "day"]
    assert problem.X["day"].iloc[0] == 19723  # days from 1970-01-01 to 2024-01-01
    assert set(problem.X["flag"]) == {0.0, 1.0}
    assert problem.notes == (
        "column 'day' holds dates; they are counted in days.",
        "1 row(s) without a value of 'price' are dropped.",
        "task: regression, because column 'price' holds 59 distinct numbers; "
        "--task classification overrides this.",
        "dropped, text that differs in most rows: serial.",
        "dropped, row numbers: id.",
        "dropped, the same value in every row: same.",
        "filled, missing values or numbers without finite squares: number, colour.",
    )
    numbers = problem.preprocessor.fit_transform(problem.X)
    assert numbers.shape == (59, 3 + 3)
    assert np.isfinite(numbers).all()


def test_imputation_and_encoding_see_training_rows_only(tmp_path):
    """Oracle: median and categories of the training part, computed by hand."""
    frame = mixed_table()
    frame.loc[::3, "number"] = np.nan
    frame["colour"] = [f"c{i % 30}" for i in range(60)]
    frame.to_csv(tmp_path / "table.csv", index=False)
    problem = read_csv_problem(str(tmp_path / "table.csv"), "price")
    train, test = train_test_split(problem.X, test_size=0.2, random_state=0)
    fitted = problem.preprocessor.fit(train)
    assert fitted.transform(test)[:, 0] == pytest.approx(
        test["number"].fillna(train["number"].median())
    )
    assert split_problem(problem, 0).X_test == pytest.approx(
        StandardScaler().fit(fitted.transform(train)).transform(fitted.transform(test))
    )


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (["yes", "no"], "classification", "holds 2 labels"),
        (["True", "False"], "classification", "holds 2 labels"),
        (["1", "2", "3"], "classification", "holds 3 distinct integers"),
        (["1", "2", ""], "classification", "holds 2 distinct integers"),
        ([str(i) for i in range(21)], "regression", "holds 21 distinct numbers"),
        (["0.5", "1"], "regression", "holds 2 distinct numbers"),
    ],
)
def test_task_is_read_from_the_target(tmp_path, values, task, reason):
    """Oracle: the rule in the docstring of read_csv_problem."""
    rows = "\n".join(f"{i * 0.37},{values[i % len(values)]}" for i in range(84))
    problem = read_csv_problem(write(tmp_path, f"x,y\n{rows}"), "y")
    assert problem.task == task
    assert reason in " ".join(problem.notes)


def test_task_can_be_forced(tmp_path):
    """Oracle: the values of the file."""
    path = write(tmp_path, "x,y\n" + "\n".join(f"{i * 0.1},{i % 4}" for i in range(40)))
    assert read_csv_problem(path, "y", "regression").y.tolist() == [i % 4 for i in range(40)]
    problem = read_csv_problem(path, "y", "classification")
    assert problem.classes == ("0", "1", "2", "3")
    assert problem.notes == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_separators_and_question_marks(tmp_path, separator):
    """Oracle: the values of the file; "?" is a gap."""
    lines = ["a,b,y", *(f"{i}.5,{'?' if i == 2 else i * i},{i * 0.1}" for i in range(30))]
    path = write(tmp_path, "\n".join(lines).replace(",", separator))
    problem = read_csv_problem(path, "y")
    assert problem.X["b"].isna().sum() == 1
    assert problem.X["a"].tolist() == [i + 0.5 for i in range(30)]


def test_csv_with_decimal_commas(tmp_path):
    """Oracle: the values of the file."""
    lines = ["a;b;y", *(f"{i},5;{i * i};{i},25" for i in range(30))]
    problem = read_csv_problem(write(tmp_path, "\n".join(lines)), "y")
    assert problem.X["a"].tolist() == [i + 0.5 for i in range(30)]
    assert problem.y.tolist() == [i + 0.25 for i in range(30)]


def test_csv_with_numbers_that_cannot_be_squared(tmp_path):
    """Oracle: a gap in a column; in a target, an error."""
    lines = ["a,y", *(f"{'1e200' if i == 3 else i},{i * 0.1}" for i in range(30))]
    problem = read_csv_problem(write(tmp_path, "\n".join(lines)), "y")
    assert problem.X["a"].isna().sum() == 1
    problem = read_csv_problem(write(tmp_path, "\n".join(lines)), "a")
    with pytest.raises(InputError, match=r"holds numbers of 1e\+150 and more, whose squares"):
        check_splittable(problem, 0.2)


@pytest.mark.parametrize(
    ("text", "target", "task", "message"),
    [
        ("", "y", "auto", "table.csv is empty"),
        ("x,y\n", "y", "auto", "has no rows below its line of column names"),
        ("x,price\n1,2", "prise", "auto", "'prise' is not a column .* did you mean 'price'"),
        ("x,y\n1,2", "target", "auto", "'target' is not a column of the file; columns: 'x', 'y'"),
        ("x,y\n1,\n2,", "y", "auto", "the target 'y' has no value in any row"),
        ("x,y\n1,a\n2,b", "y", "regression", "holds text such as 'a', and regression needs"),
        ("x,y\n1,inf\n2,3", "y", "regression", "has infinite values"),
        ("y\n1.5\n2.5", "y", "auto", "has no usable column beside the target 'y'"),
        ("x,y\n1,2\n1,3,4,5", "y", "auto", "line 3 has 4 cells, and line 1 names 2 columns"),
    ],
)
def test_csv_that_cannot_be_used_is_refused(tmp_path, text, target, task, message):
    """Oracle: messages written here."""
    with pytest.raises(InputError, match=message) as caught:
        read_csv_problem(write(tmp_path, text), target, task)
    assert "\n" not in str(caught.value)


def test_csv_that_is_not_there_is_refused(tmp_path):
    """Oracle: messages written here."""
    with pytest.raises(InputError, match=r"file not found: .*missing\.csv"):
        read_csv_problem(str(tmp_path / "missing.csv"), "y")
    with pytest.raises(InputError, match="is a folder"):
        read_csv_problem(str(tmp_path), "y")


# Methods


def test_settings_are_the_defaults_of_the_estimators():
    """Oracle: the estimators' own parameters."""
    binarizer, model = SupervisedBinarizer(), EndToEndOPURegressor()
    values = (binarizer.n_bits, binarizer.n_components, binarizer.max_iter, model.n_draws)
    assert Settings() == Settings(*values)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("data_set", ["diabetes", "iris"])
def test_every_method_fits_both_tasks(name, data_set):
    """Oracle: guessing. The mean has error 1, give or take; a guessed class of iris 2/3."""
    record = fit_once(load_bundled(data_set), name, METHODS[name], TINY, seed=0)
    assert record.failure is None
    if record.left_out:
        assert METHODS[name].needs
        return
    assert 0 <= record.error < (1.5 if data_set == "diabetes" else 0.7)
    assert record.cpu_seconds >= 0
    peers = ("fourier", "gp", "boosting", "mlp", "catboost", "xrfm", "realmlp")
    assert (record.n_passes is None) == name.startswith(("kernel-ridge", *peers))
    assert (record.n_passes == 0) == (name in ("cross-fitted", "exact"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Once for the scale of the features, steps x rows x draws, then the final features.
        ("end-to-end", 48 + 3 * 48 * 4 + 48 * 2),
        ("chain", 48 + 3 * 48 * 4 + 48),
        ("hyperplanes", 48),
    ],
)
def test_passes_are_counted_during_fit_only(name, expected):
    """Oracle: counted by hand for 48 training rows, fewer than a minibatch."""
    record = fit_once(small_problem(), name, METHODS[name], TINY, seed=0)
    assert record.n_passes == expected
    assert count_passes(KernelRidge()) is None


def test_tuned_kernel_ridge_equals_kernel_ridge_on_the_same_split():
    """Oracle: scikit-learn's KernelRidge with the chosen alpha and gamma, standardised by hand."""
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=1)
    scaler, mean, sd = StandardScaler().fit(X), y.mean(), y.std()
    X, X_test, y, y_test = scaler.transform(X), scaler.transform(X_test), (y - mean) / sd, y_test
    chosen = TunedKernelRidge(random_state=1).fit(X, y).best_params_
    predicted = KernelRidge(kernel="rbf", **chosen).fit(X, y).predict(X_test)
    record = fit_once(load_bundled("diabetes"), "kr", METHODS["kernel-ridge"], TINY, seed=1)
    assert record.error == pytest.approx(np.mean((predicted - (y_test - mean) / sd) ** 2))


def test_tuned_kernel_ridge_chooses_as_grid_search_does():
    """Oracle: scikit-learn's GridSearchCV on the same folds."""
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:120]
    y = y[:120] / y.std()
    grid = {"alpha": np.logspace(-10, 1, 12), "gamma": 2.0 ** np.arange(-5, 3) / X.shape[1]}
    folds = KFold(5, shuffle=True, random_state=3)
    model = KernelRidge(kernel="rbf")
    search = GridSearchCV(model, grid, scoring="neg_mean_squared_error", cv=folds).fit(X, y)
    chosen = TunedKernelRidge(random_state=3).fit(X, y).best_params_
    assert chosen == pytest.approx(search.best_params_)


def test_averaged_kernel_ridge_is_the_average_it_chose():
    """Oracle: the greedy choice and the fits, made by scikit-learn's KernelRidge on the same
    folds; of the quantiles, the scaling of the package's encoders."""
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X)[:150], y[:150] / y.std()
    model = AveragedKernelRidge(random_state=3).fit(X[:90], y[:90])
    quantiles = QuantileInputs(KernelRidge()).fit(X[:90], y[:90]).scaler_.transform
    copies = [(X[:90], X[90:]), (quantiles(X[:90]), quantiles(X[90:]))]
    folds = KFold(5, shuffle=True, random_state=3)
    alphas, gammas = np.logspace(-10, 1, 12), 2.0 ** np.arange(-5, 3) / X.shape[1]
    left_out, outside = [], []
    for (rows, others), gamma, alpha in product(copies, gammas, alphas):
        ridge = KernelRidge(kernel="rbf", gamma=gamma, alpha=alpha)
        left_out.append(cross_val_predict(ridge, rows, y[:90], cv=folds))
        outside.append(ridge.fit(rows, y[:90]).predict(others))
    picks = []
    for _ in range(25):
        sums = np.sum([left_out[i] for i in picks], axis=0)
        averages = (sums + np.array(left_out)) / (len(picks) + 1)
        picks.append(int(np.argmin(np.square(averages - y[:90]).mean(axis=1))))
    expected = np.mean([outside[i] for i in picks], axis=0)
    np.testing.assert_allclose(model.predict(X[90:]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_process_with_a_scale_a_column_finds_the_column_that_matters():
    """Oracle: the target, which is a function of the first of three columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.standard_normal(80)
    scales = {}
    for by_column in (False, True):
        model = RBFGaussianProcess(by_column).fit(X[:60], y[:60])
        scales[by_column] = np.atleast_1d(model.process_.kernel_.k1.k2.length_scale)
        scales[by_column, "error"] = np.mean((model.predict(X[60:]) - y[60:]) ** 2)
    assert len(scales[False]) == 1
    assert scales[True][1:].min() > 10 * scales[True][0]
    assert scales[True, "error"] < 0.5 * scales[False, "error"]


class StandIn(BaseEstimator):
    """Stands for an estimator of another package: prints, warns, predicts a column."""

    def __init__(self, **settings):
        self.settings = settings

    def get_params(self, deep=True):
        return self.settings

    def fit(self, X, y):
        print("round 1")
        warnings.warn("for programmers", DeprecationWarning, stacklevel=1)
        self.labels_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full((len(X), 1), self.labels_[0])


PACKAGES = {
    "catboost": ("CatBoostRegressor", "CatBoostClassifier"),
    "pytabkit": (
        *("XRFM_D_Regressor", "XRFM_D_Classifier"),
        *("RealMLP_TD_Regressor", "RealMLP_TD_Classifier"),
    ),
    "xrfm": (),
}


@pytest.mark.parametrize("name", ["catboost", "xrfm", "realmlp"])
@pytest.mark.parametrize("data_set", ["diabetes", "iris"])
def test_peers_of_other_packages_take_part_where_they_are_installed(
    monkeypatch, capsys, name, data_set
):
    """Oracle: stand-ins that predict the least target; the class of a third of iris is wrong of
    none. The seed is passed on; nothing is printed or warned."""
    for package, classes in PACKAGES.items():
        module = ModuleType(package)
        module.__spec__ = ModuleSpec(package, None)
        for number, kind in enumerate(classes):
            setattr(module, kind, type(kind, (StandIn,), {"is_classifier": number % 2 == 1}))
        monkeypatch.setitem(sys.modules, package, module)
    problem = load_bundled(data_set)
    record = fit_once(problem, name, METHODS[name], TINY, seed=0)
    assert (record.failure, record.left_out, record.warnings) == (None, None, ())
    assert capsys.readouterr() == ("", "")
    split = split_problem(problem, 0)
    wrong = split.y_test != 0 if data_set == "iris" else (split.y_test - split.y.min()) ** 2
    assert record.error == pytest.approx(wrong.mean())
    model = METHODS[name].make(problem.task, TINY, 7).estimator
    assert model.is_classifier == (data_set == "iris")
    assert 7 in model.settings.values()


def test_peers_that_are_not_installed_are_left_out_with_a_sentence(monkeypatch):
    """Oracle: the packages that the fits import; the extra that pyproject.toml defines."""
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("skopu.comparison.installed_peers.find_spec", lambda name: None)
    for name in ("catboost", "xrfm", "realmlp"):
        record = fit_once(load_bundled("iris"), name, METHODS[name], TINY, seed=0)
        sentence = f"left out: {' and '.join(METHODS[name].needs)} not installed"
        assert record.left_out == f"{sentence}: pip install skopu[peers]"
        with pytest.raises(ImportError):
            METHODS[name].make("regression", TINY, 0)
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    peers = extras["project"]["optional-dependencies"]["peers"]
    assert {re.match(r"\w+", line)[0] for line in peers} == set(PACKAGES)


def test_signed_targets_two_classes_equal_the_sign_of_kernel_ridge():
    """Oracle: KernelRidge on targets -1 and 1."""
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)[:200]
    model = KernelRidge(kernel="rbf", gamma=0.01, alpha=0.1)
    predicted = SignedTargetsClassifier(model).fit(X, y[:200]).predict(X)
    assert np.array_equal(predicted, model.fit(X, 2.0 * y[:200] - 1).predict(X) > 0)


@pytest.mark.parametrize("regressor", [KernelRidge(kernel="rbf"), RBFGaussianProcess()])
def test_signed_targets_many_classes_keep_the_labels(regressor):
    """Oracle: iris is learned almost perfectly on its training rows."""
    X, y = load_iris(return_X_y=True)
    labels = np.array(["a", "b", "c"])[y]
    assert np.mean(SignedTargetsClassifier(regressor).fit(X, labels).predict(X) == labels) > 0.95


# Runner


def test_splits_are_standardised_on_the_training_part():
    """Oracle: train_test_split and arithmetic; a constant column is divided by 1."""
    problem = small_problem()
    X = np.c_[problem.X, np.full(60, 5.0)]
    split = split_problem(Problem("p", X, problem.y, "regression"), seed=3, test_size=0.25)
    train, test, y, y_test = train_test_split(X, problem.y, test_size=0.25, random_state=3)
    scale = np.r_[train.std(axis=0)[:3], 1.0]
    inputs = split.X
    assert inputs == pytest.approx((train - train.mean(axis=0)) / scale)
    assert split.X_test == pytest.approx((test - train.mean(axis=0)) / scale)
    assert split.y_test == pytest.approx((y_test - y.mean()) / y.std())


def test_predicting_the_mean_has_the_error_of_the_mean():
    """Oracle: the formula for the error of the training mean, in standardised units."""
    problem = small_problem()
    _, _, y, y_test = train_test_split(problem.X, problem.y, test_size=0.2, random_state=0)
    record = fit_once(problem, "mean", mean_method(), TINY, seed=0)
    assert record.error == pytest.approx(np.mean((y_test - y.mean()) ** 2) / y.var())


def test_a_failing_method_does_not_lose_the_others():
    """Oracle: the failure is raised here."""
    methods = {
        "bad": mean_method("Bad", error=ValueError("no\n luck")),
        "good": mean_method("Good"),
    }
    records = list(run([small_problem()], methods, TINY, [0, 1], n_jobs=1))
    assert [r.failure for r in records if r.method == "bad"] == ["ValueError: no luck"] * 2
    assert all(r.error > 0 for r in records if r.method == "good")
    summaries = summarise([small_problem()], methods, records, 2)
    assert "failed" in text_table(summaries).splitlines()[2]
    assert remarks(summaries)[0] == "Bad on small failed on split 0: ValueError: no luck"


def test_predictions_that_are_not_numbers_count_as_failed():
    """Oracle: a mean of NaN must not enter the table."""
    method = Method("NaN", lambda *_: NotANumber())
    record = fit_once(small_problem(), "nan", method, TINY, seed=0)
    assert (record.error, record.failure) == (
        None,
        "FloatingPointError: predictions are not finite",
    )


class NotANumber(Mean):
    def predict(self, X):
        return np.full(len(X), np.nan)


def test_warnings_are_collected():
    """Oracle: the warnings raised here; the test run itself turns warnings into errors."""
    methods = {"loud": mean_method("Loud", warning="x" * 400)}
    records = list(run([small_problem()], methods, TINY, [0, 1, 2], n_jobs=1))
    assert records[0].warnings == ("UserWarning: " + "x" * 400,)
    (remark,) = remarks(summarise([small_problem()], methods, records, 3))
    assert remark.startswith("Loud on small: warning in 3 fit(s): UserWarning: xxx")
    assert len(remark) < 260


def test_an_interrupted_fit_interrupts_the_comparison():
    """Oracle: the warning by which estimators say that Ctrl-C cut their fit short."""
    method = mean_method(warning=InterruptedFitWarning("stopped"))
    with pytest.raises(KeyboardInterrupt):
        fit_once(small_problem(), "mean", method, TINY, seed=0)


def test_gaussian_process_is_left_out_where_n_is_large():
    """Oracle: the limit of 1000 training rows; 1251 rows leave 1000, 1252 leave 1001."""
    method = METHODS["gp"]
    assert method.max_train_rows == 1000
    record = fit_once(small_problem(1252), "gp", method, TINY, seed=0)
    assert record.error is None
    assert record.left_out == "left out: n > 1000 (here 1001 training rows)"
    summaries = summarise([small_problem(1252)], {"gp": method}, [record], 1)
    assert "left out" in text_table(summaries)
    assert remarks(summaries) == [
        "GP RBF on small was left out: n > 1000 (here 1001 training rows)"
    ]
    cheap = Method("Mean", lambda *_: Mean(), max_train_rows=1000)
    assert fit_once(small_problem(1251), "mean", cheap, TINY, seed=0).left_out is None


def test_two_workers_give_the_same_errors_as_one():
    """Oracle: the same fits in this process."""
    methods = {"hyperplanes": METHODS["hyperplanes"]}
    together = run([small_problem()], methods, TINY, [0, 1], n_jobs=2)
    alone = run([small_problem()], methods, TINY, [0, 1], n_jobs=1)
    assert sorted(r.error for r in together) == pytest.approx(sorted(r.error for r in alone))


# Reports

PROBLEMS = [small_problem(), Problem("other", np.zeros((9, 2)), np.zeros(9, int), "classification")]
TWO_METHODS = {"a": mean_method("Method A"), "b": mean_method("B")}
RECORDS = [
    Record("small", "b", 0, 0.5, 2.0, 0.1, 1000),
    Record("small", "a", 1, 0.3, 3.0, 0.1),
    Record("small", "a", 0, 0.2, 1.0, 0.1),
    Record("small", "b", 1, 0.1, 2.0, 0.1, 3001),
    Record("other", "a", 0, 0.004, 1.0, 0.1),
    Record("other", "a", 1, failure="ValueError: why"),
]


def test_summary_is_recomputed_from_the_records():
    """Oracle: numpy on the numbers above."""
    a, b, other = summarise(PROBLEMS, TWO_METHODS, RECORDS, 2)
    assert (a.mean, a.sd) == pytest.approx((0.25, np.std([0.2, 0.3], ddof=1)))
    assert (a.fit_seconds, a.n_passes, b.n_passes) == (2.0, None, 2000)
    assert (a.errors, a.best, b.best) == ((0.2, 0.3), True, False)
    # Half of the splits failed: no star, no standard deviation.
    assert (other.mean, other.sd, other.best) == (0.004, None, False)
    assert other.failures == ((1, "ValueError: why"),)


def test_text_table_is_aligned():
    """Oracle: the table written out."""
    assert text_table(summarise(PROBLEMS, TWO_METHODS, RECORDS, 2)).splitlines() == [
        "set    method    test error          fit s  device passes",
        "-----  --------  ------------------  -----  -------------",
        "small  Method A  0.250 ± 0.071 *      2.00              -",
        "       B         0.300 ± 0.283        2.00          2,000",
        "-----  --------  ------------------  -----  -------------",
        "other  Method A  0.00400 (1 failed)   1.00              -",
    ]


def test_markdown_table_marks_the_best():
    """Oracle: the row written out."""
    lines = markdown_table(summarise(PROBLEMS, TWO_METHODS, RECORDS, 2)).splitlines()
    assert lines[2] == "| small | Method A | **0.250 ± 0.071** | 2.00 | - |"
    assert len(lines) == 5


def test_splits_that_are_missing_are_told():
    """Oracle: one of three splits was recorded."""
    summaries = summarise(PROBLEMS, TWO_METHODS, RECORDS[:1], 3)
    assert "0.500 (1 of 3 splits)" in text_table(summaries)


@pytest.mark.parametrize(
    ("mean", "sd", "text"),
    [
        (0.5, 0.0312, "0.500 ± 0.031"),
        (0.00153, 0.00031, "0.00153 ± 0.00031"),
        (1.1e-6, 1.7e-7, "1.1e-06 ± 2e-07"),
        (0.0, 0.0, "0.000 ± 0.000"),
        (12.3456, None, "12.346"),
    ],
)
def test_errors_are_written_with_the_digits_they_need(mean, sd, text):
    """Oracle: written here."""
    assert format_error(mean, sd) == text


def test_dict_is_json():
    """Oracle: the records above, after a round through JSON."""
    summaries = summarise(PROBLEMS, TWO_METHODS, RECORDS, 2)
    small, _ = json.loads(json.dumps(as_dict(PROBLEMS, summaries, RECORDS), allow_nan=False))
    assert (small["name"], small["n_rows"], small["n_columns"]) == ("small", 60, 3)
    a, b = small["results"]
    assert [split["error"] for split in a["splits"]] == [0.2, 0.3]
    assert (a["error_mean"], b["n_passes"]) == (0.25, 2000)


def test_rows_are_ordered_by_error():
    """Oracle: means .3 and .25 in the first set; a method without a result comes last."""
    methods = {"b": TWO_METHODS["b"], "a": TWO_METHODS["a"]}
    failed = Record("other", "b", 0, failure="ValueError: why")
    rows = by_error(summarise(PROBLEMS, methods, [*RECORDS, failed], 2))
    assert [(s.problem, s.method) for s in rows] == [
        ("small", "a"),
        ("small", "b"),
        ("other", "a"),
        ("other", "b"),
    ]


def test_figure_shows_every_split_and_mean(tmp_path):
    """Oracle: the records above; nothing but points and intervals on the axis."""
    summaries = summarise(PROBLEMS, TWO_METHODS, RECORDS, 2)
    figure = draw(PROBLEMS, TWO_METHODS, summaries)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["Method A", "B"]
    assert sorted(np.concatenate([d.get_offsets()[:, 0] for d in left.collections])) == [
        0.1,
        0.2,
        0.3,
        0.5,
    ]
    lines = [line.get_xdata() for line in left.lines]
    sd = [np.std(errors, ddof=1) for errors in ([0.2, 0.3], [0.1, 0.5])]
    np.testing.assert_allclose(lines[0], [0.25 - sd[0], 0.25 + sd[0]])
    np.testing.assert_allclose(lines[2], [0.3 - sd[1], 0.3 + sd[1]])
    assert [line[0] for line in lines[1::2]] == [0.25, pytest.approx(0.3)]
    low, high = left.get_xlim()
    width = 2 * sd[1]
    assert (low, high) == pytest.approx((0.3 - 0.56 * width, 0.3 + 0.56 * width))
    assert right.get_xlabel() == "test error rate"
    figure.savefig(tmp_path / "figure.png")


def test_figure_has_powers_of_ten_where_errors_differ_in_size():
    """Oracle: the scale, and its order, best first."""
    records = [Record("small", "a", 0, 0.5, 1.0, 0.1), Record("small", "b", 0, 0.001, 1.0, 0.1)]
    figure = draw(PROBLEMS[:1], TWO_METHODS, summarise(PROBLEMS, TWO_METHODS, records, 1))
    (ax,) = figure.axes
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "Method A"]
    assert ax.get_xlim()[0] == pytest.approx(0.001 / 500**0.06)


def test_figure_paths_are_checked(tmp_path):
    """Oracle: messages written here."""
    check_figure_path(str(tmp_path / "figure.svg"))
    with pytest.raises(InputError, match=r"must end in a format .* got '\.csv'"):
        check_figure_path(str(tmp_path / "figure.csv"))
    with pytest.raises(InputError, match=r"folder .*nowhere does not exist"):
        check_figure_path(str(tmp_path / "nowhere" / "figure.png"))


def test_a_search_is_made_of_methods_that_have_a_space():
    """Oracle: the candidates tried, all from the space, and the passes of the final model."""
    settings = Settings(n_bits=8, n_components=16, n_candidates=2)
    search = make_estimator(METHODS["hyperplanes"], "regression", settings, seed=0)
    problem = small_problem()
    search.fit(problem.X, problem.y)
    tried = search.cv_results_["param_binarizer__n_bits"].tolist()
    assert len(set(tried)) == 2
    assert set(tried) <= set(METHODS["hyperplanes"].space["binarizer__n_bits"])
    assert count_passes(search) == len(problem.y)
    plain = make_estimator(METHODS["kernel-ridge"], "regression", settings, seed=0)
    assert isinstance(plain, TunedKernelRidge)


def test_fixed_test_rows_are_held_out_whatever_the_seed():
    """Oracle: the rows marked."""
    problem = small_problem()
    is_test = np.arange(len(problem.y)) % 4 == 1
    marked = replace(problem, is_test=is_test)
    splits = [split_problem(marked, seed) for seed in (0, 1)]
    for split in splits:
        scaler = StandardScaler().fit(problem.X[~is_test])
        np.testing.assert_allclose(split.X_test, scaler.transform(problem.X[is_test]))
        assert len(split.X) == (~is_test).sum()


def test_skipped_fits_are_not_made():
    """Oracle: the fits that are left."""
    methods = {"a": mean_method("A"), "b": mean_method("B")}
    name = small_problem().name
    skip = {(name, "a", 0), (name, "b", 1)}
    records = run([small_problem()], methods, TINY, [0, 1], n_jobs=1, skip=skip)
    assert sorted((r.method, r.split) for r in records) == [("a", 1), ("b", 0)]


def test_fourier_ridge_is_a_search_over_pipelines_of_scikit_learn():
    """Oracle: RBFSampler and RidgeCV of scikit-learn."""
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = TunedFourierRidge(32, random_state=0).fit(X[:200], y[:200])
    gamma = model.search_.best_params_["features__gamma"]
    features = RBFSampler(gamma=gamma, n_components=32, random_state=0)
    expected = make_pipeline(features, RidgeCV(alphas=np.logspace(-6, 2, 17))).fit(X[:200], y[:200])
    np.testing.assert_allclose(model.predict(X[200:]), expected.predict(X[200:]), rtol=1e-6)
    # gamma = 1 / (2 l^2) of a length scale l = sqrt(d / variance)
    given = TunedFourierRidge(32, 2 * gamma * X.shape[1], random_state=0).fit(X[:200], y[:200])
    np.testing.assert_allclose(given.predict(X[200:]), model.predict(X[200:]), rtol=1e-6)


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].space])
def test_every_space_is_of_parameters_that_there_are(name, task):
    """Oracle: scikit-learn's set_params, with a draw from the space."""
    settings = Settings(n_candidates=1)
    search = make_estimator(METHODS[name], task, settings, seed=0)
    (drawn,) = ParameterSampler(search.param_distributions, 1, random_state=0)
    model = search.estimator.set_params(**drawn)
    assert {key: model.get_params()[key] for key in drawn} == drawn


def test_quantile_inputs_do_not_change_with_the_scale_of_columns():
    """Oracle: quantiles are the same for any increasing function of a column, up to their
    interpolation in its own scale; without them the predictions differ by 0.5 and more."""
    X, y = load_diabetes(return_X_y=True)
    plain = QuantileInputs(KernelRidge(kernel="rbf")).fit(X[:200], y[:200])
    warped = QuantileInputs(KernelRidge(kernel="rbf")).fit(np.exp(9 * X[:200]), y[:200])
    np.testing.assert_allclose(
        plain.predict(X[:200]), warped.predict(np.exp(9 * X[:200])), rtol=0.02
    )


@pytest.mark.skipif(not os.environ.get("SKOPU_DATA"), reason="SKOPU_DATA names no folder")
def test_sets_by_name_keep_the_rows_of_the_protocol():
    """Oracle: the documented permutation of the file's rows."""
    with np.load(Path(os.environ["SKOPU_DATA"], "mocap.npz")) as file:
        X, y, user = file["X"], file["y"], file["user"]
    rows = np.random.default_rng(0).permutation(len(y))[:200]
    problem = load_named("mocap@user2", max_rows=200)
    np.testing.assert_array_equal(problem.X, X[rows])
    np.testing.assert_array_equal(problem.y, y[rows])
    np.testing.assert_array_equal(problem.is_test, user[rows] == 2)
    assert load_named("boston").y.shape == (506,)
