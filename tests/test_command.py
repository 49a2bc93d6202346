"""Commands beside the comparison: files, statuses, messages."""

import csv
import io
import os
import re
import sys

import numpy as np
import pytest

from skopu import HyperplaneBinarizer
from skopu.command import device
from skopu.command.front import main
from skopu.deploy import save_model
from skopu.devices import Camera, OPUDevice, SimulatedOPU
from skopu.exceptions import CameraWarning

pytest.importorskip("skops")
QUICK = ["--method", "hyperplanes"]


@pytest.fixture
def table(tmp_path):
    """Write a file with a column of numbers, one of text, one of dates, and two targets."""
    rng = np.random.default_rng(0)
    lines = ["size;colour;day;price;kind"]
    for i in range(80):
        size = rng.normal()
        price, kind = f"{3 + 2 * size:.3f}".replace(".", ","), "ab"[size > 0]
        cell = f"{size:.4f}".replace(".", ",")
        lines.append(f"{cell};{('red', 'blue')[i % 2]};{i % 28 + 1:02}.03.2020;{price};{kind}")
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines))
    return path


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_number_is_fitted_and_predicted(table, tmp_path, capsys):
    """Oracle: the target in the file, which is a function of one column."""
    model = tmp_path / "model.skops"
    assert main(["fit", str(table), "--target", "price", "--out", str(model), *QUICK]) == 0
    assert "Hyperplanes + OPU, fitted to 80 rows" in capsys.readouterr().out
    assert main(["predict", str(model), str(table)]) == 0
    told = capsys.readouterr()
    predicted = [float(row["price"]) for row in rows_of(told.out)]
    assert len(predicted) == 80
    lines = table.read_text().splitlines()[1:]
    prices = [float(line.split(";")[3].replace(",", ".")) for line in lines]
    assert np.corrcoef(predicted, prices)[0, 1] > 0.9
    assert "R2 = 0.9" in told.err


def test_labels_and_their_probabilities(table, tmp_path, capsys):
    """A model with probabilities; a file without the target, with its columns in another order."""
    model, out = tmp_path / "model.skops", tmp_path / "predicted.csv"
    arguments = ["--method", "exact", "--max-iter", "20"]
    assert main(["fit", str(table), "--target", "kind", "--out", str(model), *arguments]) == 0
    new = tmp_path / "new.csv"
    new.write_text(
        "note,day,price,colour,size\nx,2020-03-05,6.1,red,1.5\ny,2020-03-06,0.2,blue,-1.4"
    )
    assert main(["predict", str(model), str(new), "--out", str(out)]) == 0
    assert "2 prediction(s)" in capsys.readouterr().out
    rows = rows_of(out.read_text())
    assert [row["kind"] for row in rows] == ["b", "a"]
    for row in rows:
        assert float(row["P(a)"]) + float(row["P(b)"]) == pytest.approx(1)
    assert main(["predict", str(model), str(table)]) == 0
    assert "of the 80 labels in the file are met" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "{csv}", "--target", "prise", "--out", "{new}"], "did you mean 'price'?"),
        (["fit", "{csv}", "--target", "price", "--out", "{folder}"], "is a folder"),
        (["fit", "{csv}", "--target", "price", "--out", "{folder}/a/b"], "there is no folder"),
        (["predict", "{new}", "{csv}"], "file not found"),
        (["predict", "{csv}", "{csv}"], "is not a model of skopu fit"),
        (["device", "check", "--device", "no:thing"], "is none of simulated, camera"),
        (["device", "check", "--n-bits", "3"], "must be 16 or more"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(arguments, words, table, tmp_path, capsys):
    places = {"csv": table, "new": tmp_path / "m.skops", "folder": tmp_path}
    assert main([argument.format(**places) for argument in arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out


def test_a_file_with_other_columns(table, tmp_path, capsys):
    model, new = tmp_path / "model.skops", tmp_path / "new.csv"
    main(["fit", str(table), "--target", "price", "--out", str(model), *QUICK])
    for lines, words in (
        ("size,colour\n1,red\n2,blue", "lacks column(s) that the model was fitted to: 'day'"),
        ("size,colour,day,kind\nbig,red,2020-01-01,a\nsmall,red,2020-01-02,b", "such as 'big'"),
    ):
        new.write_text(lines)
        capsys.readouterr()
        assert main(["predict", str(model), str(new)]) == 2
        assert words in capsys.readouterr().err


def test_other_models_are_refused(table, tmp_path, capsys):
    path = tmp_path / "model.skops"
    save_model(HyperplaneBinarizer(4).fit(np.eye(3)), path)
    assert main(["predict", str(path), str(table)]) == 2
    assert "load it by skopu.deploy.load_model" in capsys.readouterr().err


def test_without_a_command_methods_are_compared(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Compare kernel machines" in capsys.readouterr().out


class TestDevice:
    """Oracle: what was done to a simulated device."""

    def findings(self, opu, n_components=400):
        return {f.name.split()[0]: f for f in device.judge(*device._look(opu, 64, n_components))}

    def test_a_good_one(self, tmp_path, capsys):
        path = tmp_path / "device.png"
        assert main(["device", "check", "--figure", str(path)]) == 0
        assert "Verdict: the light is usable." in capsys.readouterr().out
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_saturated(self):
        with pytest.warns(CameraWarning):
            found = self.findings(SimulatedOPU(camera=Camera(exposure=1000.0)))
        assert not found["pixels"].is_good

    def test_dark(self):
        with pytest.warns(CameraWarning):
            found = self.findings(SimulatedOPU(camera=Camera(exposure=0.1)))
        assert not found["dark"].is_good

    def test_moving(self, capsys):
        """A set-up that shakes: another matrix at every call."""
        assert not self.findings(Shaking())["the"].is_good
        arguments = ["device", "check", "--device", f"{__name__}:Shaking", "--no-figure"]
        assert main(arguments) == 1
        assert "let it warm up" in capsys.readouterr().out

    def test_large_grains(self):
        """Each speckle covers sixteen pixels of one line: neighbours add up."""
        assert not self.findings(Blurred())["speckle"].is_good


class Shaking(OPUDevice):
    """Another matrix at every call."""

    def _project(self, codes, n_components):
        self.calls_ = getattr(self, "calls_", 0) + 1
        return SimulatedOPU(self.calls_).project(codes, n_components)


class Blurred(OPUDevice):
    """A camera that averages sixteen grains into every pixel."""

    def _project(self, codes, n_components):
        frames = SimulatedOPU().project(codes, 16 * n_components)
        return frames.reshape(len(codes), n_components, 16).mean(axis=2)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("command", ["predict", "compare"])
def test_a_full_output_costs_no_result(command, table, tmp_path, capsys, monkeypatch):
    """Oracle: the same on an output that has room; the status says that something was wrong."""
    monkeypatch.chdir(tmp_path)  # where a figure goes
    arguments = [str(table), "--target", "price", "--methods", "hyperplanes", "--n-splits", "1"]
    if command == "predict":
        model = tmp_path / "model.skops"
        main(["fit", str(table), "--target", "price", "--out", str(model), *QUICK])
        arguments = ["predict", str(model), str(table)]
    capsys.readouterr()
    assert main(arguments) == 0
    expected = capsys.readouterr().out
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 1
        assert sys.stdout is full
    told = capsys.readouterr().err
    assert told.count("standard output takes nothing more (No space left on device)") == 1
    if command == "predict":
        assert expected in told
    else:  # but for the seconds
        assert re.sub(r"[\d.]+", "", expected) in re.sub(r"[\d.]+", "", told)
