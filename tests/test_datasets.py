"""The data sets: files of a folder, and OpenML as a fake.

Oracles: the sizes, class counts and means that the data's own documentation gives, copied here;
arrays written by the test; a stand-in for ``fetch_openml`` that returns known arrays.
"""

import os
import pickle
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from sklearn.utils import Bunch

from skopu.datasets import list_datasets, load_dataset
from skopu.datasets.catalogue import CATALOGUE

# n, d and, of the target, the mean and standard deviation to four digits or the class counts.
DOCUMENTED = {
    "boston": (506, 13, (22.53, 9.188)),
    "energy": (768, 8, (22.31, 10.08)),
    "yacht": (308, 6, (10.5, 15.14)),
    "powerplant": (9568, 4, (454.4, 17.07)),
    "protein": (45730, 9, (7.749, 6.118)),
    "naval": (11934, 16, (0.975, 0.01472)),
    "airfoil": (1503, 5, (124.8, 6.896)),
    "eeg": (14980, 14, [8257, 6723]),
    "mocap": (11022, 36, [4377, 3105, 3540]),
    "miniboo": (5044, 50, [1371, 3673]),
    "credit": (30000, 23, [23364, 6636]),
    "german": (1000, 24, [700, 300]),
}
ISSUE = (
    "boston energy yacht concrete powerplant protein naval kin8nm wine airfoil eeg mocap miniboo "
    "credit letter magic spam mnist german"
)


@pytest.fixture
def folder():
    """Return the folder of real data; skip, saying so, where there is none."""
    found = os.environ.get("SKOPU_DATA")
    if not found or not Path(found).is_dir():
        pytest.skip("needs a folder named by SKOPU_DATA")
    return found


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.delenv("SKOPU_DATA", raising=False)


def write(folder, name="yacht", **changes):
    """Write a file of a set's own sizes, with changes to its arrays; None leaves one out."""
    known, rng = CATALOGUE[name], np.random.default_rng(0)
    n_samples = known.shape[0]
    y = rng.integers(len(known.classes), size=n_samples) if known.classes else rng.random(n_samples)
    arrays = {"X": rng.random(known.shape, dtype=np.float32), "y": y}
    arrays |= {extra: rng.integers(3, size=n_samples) for extra in known.extras} | changes
    kept = {key: value for key, value in arrays.items() if value is not None}
    np.savez(folder / f"{name}.npz", **kept)
    return kept


def test_names_are_those_asked_for():
    assert set(list_datasets()) == set(ISSUE.split())
    both = list_datasets("regression") + list_datasets("classification")
    assert sorted(both) == sorted(list_datasets())
    with pytest.raises(ValueError, match=r"task='ranking'.*'classification', 'regression'"):
        list_datasets("ranking")


def test_catalogue_is_complete():
    """Oracle: as many names of columns as columns, and different ones."""
    for name, known in CATALOGUE.items():
        assert len(set(known.feature_names)) == known.shape[1], name
        assert bool(known.classes) == (known.task == "classification"), name
        assert known.sha256 is None or len(known.sha256) == 64


@pytest.mark.parametrize("name", DOCUMENTED)
def test_sets_of_the_folder(folder, name):
    """Oracle: sizes and statistics of the target; no warning, so the checksum is right too."""
    if not Path(folder, f"{name}.npz").exists():
        pytest.skip(f"needs {name}.npz")
    n_samples, n_features, facts = DOCUMENTED[name]
    dataset = load_dataset(name)
    assert dataset.data.shape == (n_samples, n_features)
    assert dataset.data.dtype == np.float64
    assert name in dataset.DESCR
    assert str(n_samples) in dataset.DESCR
    if isinstance(facts, list):
        assert dataset.target.dtype == np.int64
        assert np.bincount(dataset.target).tolist() == facts
        assert len(dataset.target_names) == len(facts)
    else:
        assert dataset.target.dtype == np.float64
        found = dataset.target.mean(), dataset.target.std()
        np.testing.assert_allclose(found, facts, rtol=1e-3)
        assert len(dataset.target_names) == 1


def test_labels_of_the_folder(folder):
    """Oracle: the labels that the files carry beside the numbers of the classes."""
    for name in ("eeg", "mocap", "miniboo", "credit", "german"):
        path = Path(folder, f"{name}.npz")
        if path.exists():
            with np.load(path) as arrays:
                assert load_dataset(name).target_names == arrays["classes"].tolist()


def test_users_of_mocap(folder):
    """Oracle: three users, as the documentation says."""
    if not Path(folder, "mocap.npz").exists():
        pytest.skip("needs mocap.npz")
    dataset = load_dataset("mocap")
    assert dataset.user.shape == dataset.target.shape
    assert set(dataset.user.tolist()) == {0, 1, 2}


def test_digits_of_mnist(folder):
    """Oracle: the file's own arrays; the official counts of the training digits."""
    path = Path(folder, "mnist.npz")
    if not path.exists():
        pytest.skip("needs mnist.npz")
    X, y = load_dataset("mnist", return_X_y=True)
    assert X.shape == (70000, 784)
    assert X.dtype == np.uint8
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y[:60000]).tolist() == counts
    with np.load(path) as arrays:
        np.testing.assert_array_equal(X[60000:], arrays["x_test"].reshape(-1, 784))


@pytest.mark.filterwarnings("ignore:.*SHA-256")
@pytest.mark.parametrize("name", ["yacht", "mocap"])
def test_forms_of_the_answer(tmp_path, name):
    """Oracle: the arrays written to the file."""
    arrays = write(tmp_path, name)
    dataset = load_dataset(name, data_home=tmp_path)
    np.testing.assert_array_equal(dataset.data, arrays["X"].astype(float))
    np.testing.assert_array_equal(dataset.target, arrays["y"])
    assert dataset.frame is None
    assert ("user" in dataset) == (name == "mocap")
    X, y = load_dataset(name, data_home=str(tmp_path), return_X_y=True)
    np.testing.assert_array_equal(X, dataset.data)
    np.testing.assert_array_equal(y, dataset.target)
    framed = load_dataset(name, data_home=tmp_path, as_frame=True)
    assert isinstance(framed.data, pd.DataFrame)
    assert isinstance(framed.target, pd.Series)
    assert list(framed.frame.columns) == [*dataset.feature_names, framed.target.name]
    np.testing.assert_array_equal(framed.frame.to_numpy()[:, :-1], dataset.data)
    X, y = load_dataset(name, data_home=tmp_path, as_frame=True, return_X_y=True)
    assert X.equals(framed.data)
    assert y.equals(framed.target)
    pickle.loads(pickle.dumps(dataset))


@pytest.mark.filterwarnings("ignore:.*SHA-256")
def test_data_home_goes_before_the_environment(tmp_path, monkeypatch):
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        write(tmp_path / str(number), y=np.full(308, float(number)))
    monkeypatch.setenv("SKOPU_DATA", str(tmp_path / "1"))
    assert load_dataset("yacht").target[0] == 1
    assert load_dataset("yacht", data_home=tmp_path / "2").target[0] == 2
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("yacht", data_home="~/2").target[0] == 2


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError, match=r"'bostn' is not known. Did you mean 'boston'\?.*german"):
        load_dataset("bostn")
    with pytest.raises(ValueError, match=r"name='zzz' is not known\. Known: boston"):
        load_dataset("zzz")


def test_missing_file_names_the_ways_out(tmp_path, no_folder):
    ways = r"boston.npz is not in data_home=.*\(506, 13\).*download=True.*531 from OpenML"
    with pytest.raises(FileNotFoundError, match=ways):
        load_dataset("boston", data_home=tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"SKOPU_DATA.*UCI 294.*OpenML is not known to have it"
    ):
        load_dataset("powerplant", download=True)
    with pytest.raises(FileNotFoundError, match=r"and user of shape \(11022,\)"):
        load_dataset("mocap")


def test_nothing_is_fetched_unasked(tmp_path, monkeypatch, no_folder):
    """Oracle: a network that raises when touched."""

    def refuse(*_):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    for name in list_datasets():
        with pytest.raises(FileNotFoundError):
            load_dataset(name, data_home=tmp_path)


def test_import_reads_and_fetches_nothing():
    """Oracle: modules that importing the package loads, in a fresh process."""
    script = "import skopu.datasets, sys; print('torch' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split()[0] == "False", done.stderr


class TestBadFiles:
    def test_cut_short(self, tmp_path):
        write(tmp_path)
        path = tmp_path / "yacht.npz"
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ValueError, match=r"yacht.npz cannot be read.*download=True"):
            load_dataset("yacht", data_home=tmp_path)

    def test_a_byte_changed(self, tmp_path):
        """Oracle: the checksum that the zip format keeps of each array."""
        write(tmp_path)
        path = tmp_path / "yacht.npz"
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read.*CRC"):
            load_dataset("yacht", data_home=tmp_path)

    def test_not_an_archive(self, tmp_path):
        (tmp_path / "yacht.npz").write_text("<html>not found</html>")
        with pytest.raises(ValueError, match="cannot be read"):
            load_dataset("yacht", data_home=tmp_path)
        with zipfile.ZipFile(tmp_path / "yacht.npz", "w") as archive:
            archive.writestr("readme.txt", "nothing")
        with pytest.raises(ValueError, match=r"lacks \['X', 'y'\]"):
            load_dataset("yacht", data_home=tmp_path)

    def test_arrays_left_out(self, tmp_path):
        write(tmp_path, y=None)
        with pytest.raises(ValueError, match=r"\['X'\] and lacks \['y'\].*numpy.savez"):
            load_dataset("yacht", data_home=tmp_path)
        write(tmp_path, "mocap", user=None)
        with pytest.raises(ValueError, match=r"lacks \['user'\]"):
            load_dataset("mocap", data_home=tmp_path)

    @pytest.mark.parametrize(
        "changes",
        [{"X": np.zeros((308, 7))}, {"X": np.zeros((300, 6))}, {"y": np.zeros(307)}],
        ids=["columns", "rows", "targets"],
    )
    def test_other_sizes(self, tmp_path, changes):
        write(tmp_path, **changes)
        with pytest.raises(ValueError, match=r"X of shape .* has shape \(308, 6\)"):
            load_dataset("yacht", data_home=tmp_path)

    def test_other_values(self, tmp_path):
        write(tmp_path, X=np.full((308, 6), np.nan))
        with pytest.raises(ValueError, match="no finite numbers"):
            load_dataset("yacht", data_home=tmp_path)
        write(tmp_path, "german", y=np.full(1000, 2))
        with pytest.raises(ValueError, match="other class numbers than 0 to 1"):
            load_dataset("german", data_home=tmp_path)

    def test_other_checksum_is_a_warning(self, tmp_path):
        """Oracle: random numbers are not the published file."""
        write(tmp_path)
        with pytest.warns(UserWarning, match=r"right sizes.*SHA-256"):
            load_dataset("yacht", data_home=tmp_path)

    def test_whole_set_in_the_place_of_a_part(self, tmp_path):
        X, y = np.zeros((130064, 50), np.float32), np.zeros(130064, int)
        write(tmp_path, "miniboo", X=X, y=y)
        with pytest.warns(UserWarning, match="SHA-256"):
            assert load_dataset("miniboo", data_home=tmp_path).data.shape == X.shape


class FakeOpenML:
    """A stand-in for fetch_openml that returns a known frame and keeps what it was asked."""

    def __init__(self, frame, target):
        self.frame, self.target, self.asked = frame, target, []

    def __call__(self, **asked):
        self.asked.append(asked)
        return Bunch(data=self.frame, target=self.target)


@pytest.fixture
def openml(monkeypatch, tmp_path, no_folder):
    """Put a fake in the place of fetch_openml, and return what loads through it."""

    def load(name, frame, target, **options):
        fake = FakeOpenML(frame, target)
        monkeypatch.setattr(sklearn.datasets, "fetch_openml", fake)
        return load_dataset(name, data_home=tmp_path, download=True, **options), fake

    return load


def random_frame(n_samples, n_features):
    values = np.random.default_rng(0).random((n_samples, n_features))
    return pd.DataFrame(values, columns=[f"column {number}" for number in range(n_features)])


class TestOpenML:
    def test_regression(self, openml):
        """Oracle: the frame of the fake; categories that are numerals become numbers."""
        frame = random_frame(506, 13)
        numerals = np.arange(506) % 2
        frame["column 3"] = pd.Categorical(numerals.astype(str))
        target = pd.Series(np.arange(506.0))
        dataset, fake = openml("boston", frame, target)
        assert fake.asked[0]["data_id"] == 531
        assert fake.asked[0]["target_column"] == "MEDV"
        np.testing.assert_array_equal(dataset.data[:, 3], numerals)
        np.testing.assert_array_equal(dataset.data[:, 4], frame["column 4"])
        np.testing.assert_array_equal(dataset.target, target)
        assert dataset.feature_names == list(frame.columns)

    @pytest.mark.parametrize(
        ("name", "shape", "labels", "numbers"),
        [
            ("eeg", (14980, 14), ["2", "1"], [1, 0]),
            ("magic", (19020, 10), ["h", "g"], [1, 0]),
            ("miniboo", (130064, 50), ["False", "True"], [1, 0]),
        ],
    )
    def test_classes(self, openml, name, shape, labels, numbers):
        """Oracle: the labels of the fake; the true MiniBooNE events are class 0, as in the file."""
        chosen = np.arange(shape[0]) % 2
        target = pd.Series(pd.Categorical(np.array(labels)[chosen]))
        dataset, _ = openml(name, random_frame(*shape), target)
        np.testing.assert_array_equal(dataset.target, np.array(numbers)[chosen])
        assert dataset.target_names == list(CATALOGUE[name].classes)

    def test_other_sizes(self, openml):
        with pytest.raises(ValueError, match=r"arrived .*\(500, 13\), not \(506, 13\).*SKOPU_DATA"):
            openml("boston", random_frame(500, 13), pd.Series(np.zeros(500)))

    def test_other_classes(self, openml):
        target = pd.Series(np.arange(14980) % 3).astype(str)
        with pytest.raises(ValueError, match=r"classes \['0', '1', '2'\], and 2 were expected"):
            openml("eeg", random_frame(14980, 14), target)

    def test_missing_values(self, openml):
        frame = random_frame(506, 13)
        frame.iloc[3, 4] = np.nan
        with pytest.raises(ValueError, match="missing or infinite"):
            openml("boston", frame, pd.Series(np.zeros(506)))

    @pytest.mark.filterwarnings("ignore:.*SHA-256")
    def test_the_folder_goes_first(self, openml, tmp_path):
        arrays = write(tmp_path, "boston")
        dataset, fake = openml("boston", None, None)
        assert not fake.asked
        np.testing.assert_array_equal(dataset.target, arrays["y"])

    def test_offline(self, monkeypatch, tmp_path):
        """Oracle: a network that cannot resolve the address."""

        def fail(*_, **__):
            raise OSError("name resolution failed")

        monkeypatch.setattr(sklearn.datasets, "fetch_openml", fail)
        ways = r"'boston' could not be fetched.*name resolution failed.*data_home.*SKOPU_DATA"
        with pytest.raises(OSError, match=ways):
            load_dataset("boston", data_home=tmp_path, download=True)
