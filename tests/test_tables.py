"""Files of real people: each kind of layout, number, date, gap and damage, with its right value."""

import bz2
import errno
import gzip
import io
import lzma
import os
import sys
import tarfile
import threading
import zipfile
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from skopu.comparison.csv_files import read_csv_problem
from skopu.comparison.problems import InputError
from skopu.comparison.tables.sources import table_name

N_ROWS = 30
SIZES = [20 + (7 * i) % 31 + 0.5 * (i % 2) for i in range(N_ROWS)]
LABELS = [("red", "green", "blue")[i % 3] for i in range(N_ROWS)]
TARGET = [0.25 * i - 3 for i in range(N_ROWS)]
DAYS = [date(2018, 8, 1) + timedelta(days=9 * i) for i in range(N_ROWS)]


@pytest.fixture
def read(tmp_path):
    """Read a text or bytes through a file."""

    def read_text(content, target="y", task="auto", name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_csv_problem(str(path), target, task)

    return read_text


@pytest.fixture
def refusal(read):
    """Return the one line by which a file is refused."""

    def refuse(content, target="y", task="auto", name="data.csv"):
        with pytest.raises(InputError) as caught:
            read(content, target, task, name)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refuse


def table(separator=",", write=str, header=None, quote=""):
    """A table of size, colour and y, with one function that writes numbers."""
    names = header or ["size", "colour", "y"]
    rows = [names, *([write(s), c, write(t)] for s, c, t in zip(SIZES, LABELS, TARGET))]
    return "".join(separator.join(f"{quote}{c}{quote}" for c in row) + "\n" for row in rows)


def column(cells, name="x"):
    """A file of one column and a target of numbers, quoted where that is needed."""
    quoted = [f'"{cell}"' if "," in cell or '"' in cell else cell for cell in cells]
    return f"{name},y\n" + "".join(f"{c},{t}\n" for c, t in zip(quoted, TARGET))


def assert_is_the_table(problem):
    assert list(problem.X.columns) == ["size", "colour"]
    np.testing.assert_allclose(problem.X["size"], SIZES)
    assert problem.X["colour"].tolist() == LABELS
    assert problem.task == "regression"
    np.testing.assert_allclose(problem.y, TARGET)


# Separators and quotes


def comma(number):
    return str(number).replace(".", ",")


LAYOUTS = {
    "comma": table(","),
    "semicolon": table(";"),
    "tab": table("\t"),
    "bar": table("|"),
    "space": table(" "),
    "spaces": table("   "),
    "comma and space": table(", "),
    "semicolon and space": table("; "),
    "space, bar, space": table(" | "),
    "comma and spaces": table("  ,  "),
    "all quoted": table(";", quote='"'),
    "quoted, space before the quote": table(", ", quote='"'),
    "quoted and tabs": table("\t", quote='"'),
    "single quotes": table(",", quote="'"),
    "semicolons with decimal commas": table(";", comma),
    "tabs with decimal commas": table("\t", comma),
    "bars with decimal commas": table("|", comma),
    "spaces with decimal commas": table(" ", comma),
    "quoted decimal commas": table(",", comma, quote='"'),
    "sep=": "sep=;\n" + table(";", comma),
    "sep=, quoted": '"sep=;"\n' + table(";"),
    "sep= of a rare character": "sep=^\n" + table("^"),
    "no line end at the end": table().rstrip(),
    "CR LF": table().replace("\n", "\r\n"),
    "CR": table().replace("\n", "\r"),
    "blank lines": "\n\n" + table().replace("\n", "\n\n"),
    "lines of separators": table() + ",,\n,,\n",
    "separators at the ends of rows": table().replace("\n", ",\n").replace("y,\n", "y\n"),
    "separators at the ends of lines": table(";").replace("\n", ";\n"),
    "many separators at the ends of lines": table().replace("\n", ",,,,\n"),
    "comments above": "# made by hand, in 2019\n# size,of,all,things\n" + table(),
    "comment between": table().replace("\n", "\n# checked\n", 3),
    "commented names": "# " + table(),
    "title above": "Table 3: colours\n\n" + table(),
    "title filled up with separators": "Table 3;;\n" + table(";"),
    "comments of other kinds": "% by hand, in 2019, by us\n// and, again, by, us\n" + table(),
    "separator at the end of the names": table(";").replace("y\n", "y;\n"),
    "a sum below": table() + "30 rows\n",
    "a source below": table() + '"Source: all of us, 2020"\n',
    "cut in the last row": table() + "5",
    "single quotes in rows only": table(quote="'").replace("'size','colour','y'", "size,colour,y"),
    "spaces around names": table(header=[" size", "colour ", " y "]),
    "utf-8 with mark": table().encode("utf-8-sig"),
    "utf-16": table().encode("utf-16"),
    "utf-16 big end first": b"\xfe\xff" + table().encode("utf-16-be"),
    "utf-16 without mark": table().encode("utf-16-le"),
    "utf-32": table().encode("utf-32"),
    "end mark of DOS": table() + "\x1a",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_table(read, layout):
    """Oracle: the lists it was written from."""
    assert_is_the_table(read(LAYOUTS[layout]))


TEXTS = {
    "separator in text": "big; red",
    "comma in text": "big, red",
    "tab in text": "big\tred",
    "line break in text": "big\nred",
    "two line breaks": "big\n\nred",
    "doubled quotes": 'the "big" one',
    "text that begins with a quote": '"big" one',
    "hash in text": "#1 of all",
    "line that begins with a hash": "big\n# red",
    "apostrophe": "it's",
    "other letters": "größer, naïve",
    "empty": "",
}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("kind", TEXTS)
def test_quoted_text_may_hold_anything(read, kind, separator):
    """Oracle: the text. The standard library's writer doubles quotes; every other row is plain."""
    text = TEXTS[kind]
    rows = [(s, (text, "b", "c")[i % 3], t) for i, (s, t) in enumerate(zip(SIZES, TARGET))]
    cells = [[f"{s}", '"' + c.replace('"', '""') + '"', f"{t}"] for s, c, t in rows]
    body = "\n".join(separator.join(row) for row in cells)
    problem = read(separator.join(["size", '"a ""name"""', "y"]) + "\n" + body)
    assert list(problem.X.columns) == ["size", 'a "name"']
    np.testing.assert_allclose(problem.X["size"], SIZES)
    np.testing.assert_allclose(problem.y, TARGET)
    assert set(problem.X['a "name"'].dropna()) == {text, "b", "c"} - {""}


def test_quotes_escaped_by_backslashes(read):
    """Oracle: the text, as MySQL writes it."""
    rows = [f'{i}.5,"{("a", "the big one, b")[i % 2]}",{i}.25' for i in range(N_ROWS)]
    text = "x,name,y\n" + "\n".join(rows).replace("big", r"\"big\"")
    assert set(read(text).X["name"]) == {"a", 'the "big" one, b'}


def test_names_with_separators_and_quotes(read):
    """Oracle: the names. (UCI 697 has a tab in a quoted name of a semicolon-separated file.)"""
    names = ['"a, b"', '"c\td"', '"e\nf"', "y"]
    rows = [f"{i}.5;{i % 7};{i % 5};{t}" for i, t in enumerate(TARGET)]
    problem = read(";".join(names) + "\n" + "\n".join(rows))
    assert list(problem.X.columns) == ["a, b", "c\td", "e\nf"]
    assert problem.X["c\td"].tolist() == [i % 7 for i in range(N_ROWS)]


@pytest.mark.parametrize("quote", ["", '"'])
def test_first_name_may_be_empty(read, quote):
    """Oracle: pandas' and R's way to write row numbers, which are of no use."""
    lines = table().splitlines()
    text = "\n".join(f"{quote}{i or ''}{quote},{line}" for i, line in enumerate(lines))
    problem = read(text)
    assert_is_the_table(problem)
    assert "dropped, row numbers: Unnamed: 0." in problem.notes


ROW_NAMES = {
    "counted": [str(i + 1) for i in range(N_ROWS)],
    "counted, quoted": [f'"{i + 1}"' for i in range(N_ROWS)],
    "a sample of numbers, quoted": [f'"{(7 * i) % 97}"' for i in range(N_ROWS)],
    "words": [f'"Car {i}"' for i in range(N_ROWS)],
    "words without quotes": [f"car{i}" for i in range(N_ROWS)],
    "dates": [str(day) for day in DAYS],
}


@pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
@pytest.mark.parametrize("names", ROW_NAMES)
def test_row_names_of_r_stand_above_no_column(read, names, separator):
    """Oracle: what write.table writes: the line of names is one cell shorter."""
    header, *rows = table(separator).splitlines()
    text = "\n".join([header, *(f"{n}{separator}{r}" for n, r in zip(ROW_NAMES[names], rows))])
    problem = read(text)
    assert any("names the row" in note for note in problem.notes)
    expected = ["Unnamed: 0"] * (names == "dates") + ["size", "colour"]
    assert list(problem.X.columns) == expected
    np.testing.assert_allclose(problem.X["size"], SIZES)


SHIFTED = {
    "a last column without a name": "price,size,y\n"
    + "\n".join(f"{i % 9 * 10.5},{i % 7},{i},{i % 3}" for i in range(N_ROWS)),
    "different numbers first": "price,size,y\n"
    + "\n".join(f"{i * 10.5},{i % 7},{i},{i % 3}" for i in range(N_ROWS)),
    "whole numbers first": "price,size,y\n"
    + "\n".join(f"{1000 - 7 * i},{i % 7},{i},{i % 3}" for i in range(N_ROWS)),
    "remarks in a few rows": "name,size,y\n"
    + "\n".join(f"n{i},{i % 7},{i},{'sold' if i == 9 else ''}" for i in range(N_ROWS)),
    "words that repeat first": "city,size,y\n"
    + "\n".join(f"{('Paris', 'Rome')[i % 2]},{i % 7},{i},{i % 3}" for i in range(N_ROWS)),
    "two columns without names": "size,y\n"
    + "\n".join(f"{i % 7},{i},{i % 3},4" for i in range(N_ROWS)),
    "one row too long": table() + "1,red,2,3\n",
    "a decimal comma without quotes": table() + "1,5,red,2\n",
    "a quote that swallows rows": table().replace("red", '"red', 1).replace("-2.5", '"-2.5', 1),
}


@pytest.mark.parametrize("kind", SHIFTED)
def test_cells_without_a_name_are_refused(refusal, kind):
    """Oracle: the line that is wrong is named."""
    assert "line " in refusal(SHIFTED[kind])


def test_short_rows_are_said(read):
    """Oracle: values stay under their names, and what is missing is missing."""
    text = "size,y,colour\n" + "\n".join(
        f"{s},{t}" if i in (4, 9) else f"{s},{t},{c}"
        for i, (s, c, t) in enumerate(zip(SIZES, LABELS, TARGET))
    )
    problem = read(text)
    np.testing.assert_allclose(problem.X["size"], SIZES)
    assert np.flatnonzero(problem.X["colour"].isna()).tolist() == [4, 9]
    assert any("2 row(s), the first in line 6, have fewer cells" in n for n in problem.notes)


def test_lines_above_the_names_may_have_cells(read):
    """Oracle: the values, in a file of the World Bank, whose columns are named by years."""
    rows = [f'"C{i % 7}","{i * 1.5}","{i % 9}","{i}",' for i in range(N_ROWS)]
    above = [
        '"Data Source","World Development Indicators",',
        "",
        '"Last Updated","2020-07-01",',
        "",
    ]
    problem = read("\n".join([*above, '"Country","1960","1961","2019",', *rows]), "2019")
    assert list(problem.X.columns) == ["Country", "1960", "1961"]
    np.testing.assert_allclose(problem.X["1960"], [i * 1.5 for i in range(N_ROWS)])


def test_names_repeated_in_the_middle_are_no_row(read):
    """Oracle: two files, one below the other."""
    problem = read(table() + table())
    np.testing.assert_allclose(problem.X["size"], SIZES + SIZES)
    assert "skipped: 1 line(s) that are a repetition of the column names." in problem.notes


def test_a_target_is_found_by_its_name(read, refusal):
    """Oracle: spaces around a name are no part of it; another case is another name."""
    assert_is_the_table(read(table(), " y "))
    assert "did you mean 'y'?" in refusal(table(), "Y")


def test_a_name_may_hold_another_separator_without_quotes(read):
    """Oracle: the values; with commas, more rows would have equally many cells."""
    rows = [f"{s:.1f};{t:.2f}{';late' * (i > 1)}" for i, (s, t) in enumerate(zip(SIZES, TARGET))]
    problem = read("size, m2;y;note\n" + "\n".join(rows).replace(".", ","))
    np.testing.assert_allclose(problem.X["size, m2"], SIZES)
    np.testing.assert_allclose(problem.y, TARGET)


def test_codes_are_quantities_if_they_are_to_be_predicted(read):
    """Oracle: the numbers; by default they are classes with their zeros."""
    cells = [f"{(7 * i) % 15:05}" for i in range(N_ROWS)]
    assert read(column(cells), "x").classes[1] == "00001"
    assert read(column(cells), "x", "regression").y.tolist() == list(map(float, cells))


def test_words_of_one_column_are_no_cells(refusal):
    """Oracle: a file of one column has nothing beside its target."""
    text = "full name\n" + "\n".join("Anna Bo Cleo".rsplit(" ", i % 3)[0] for i in range(N_ROWS))
    assert "no usable column" in refusal(text, "full name")


def test_the_end_mark_of_dos_is_no_row(read):
    """Oracle: the number of rows, in a file of two columns."""
    assert len(read(column(map(str, SIZES)) + "\x1a", "x").y) == N_ROWS


def test_repeated_names_are_numbered(read, refusal):
    """Oracle: pandas' way to name them; a target must be one column."""
    text = "x,x,y\n" + "\n".join(f"{i}.5,{i % 7},{i}.25" for i in range(N_ROWS))
    problem = read(text)
    assert list(problem.X.columns) == ["x", "x.1"]
    assert "several columns have one name and are numbered: x." in problem.notes
    assert "is the name of several columns" in refusal(text, "x")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_other_encodings_are_guessed_and_said(read, encoding):
    """Oracle: the text before it was encoded."""
    labels = ["größe", "é"]
    text = "naïf,y\n" + "\n".join(f"{labels[i % 2]},{t}" for i, t in enumerate(TARGET))
    problem = read(text.encode(encoding))
    assert set(problem.X["naïf"]) == set(labels)
    assert any("not in UTF-8" in note for note in problem.notes)


# Numbers

CONVENTIONS = {
    "1,234.5": lambda v: f"{v:,.1f}",
    "1.234,5": lambda v: f"{v:,.1f}".translate(str.maketrans(",.", ".,")),
    "1 234,5": lambda v: f"{v:,.1f}".translate(str.maketrans(",.", " ,")),
    "1 234.5": lambda v: f"{v:,.1f}".replace(",", " "),
    "1 234,5 (no-break)": lambda v: f"{v:,.1f}".translate(str.maketrans(",.", "\u00a0,")),
    "1 234,5 (narrow)": lambda v: f"{v:,.1f}".translate(str.maketrans(",.", "\u202f,")),
    "1'234.5": lambda v: f"{v:,.1f}".replace(",", "'"),
    "1’234.5": lambda v: f"{v:,.1f}".replace(",", "’"),
    "1234,5": lambda v: f"{v:.1f}".replace(".", ","),
    "1234,5, whole without": lambda v: f"{v}".removesuffix(".0").replace(".", ","),
    "$1,234.5": lambda v: f"-${-v:,.1f}" if v < 0 else f"${v:,.1f}",
    "$ 1,234.5": lambda v: f"$ {v:,.1f}",
    "1.234,5 €": lambda v: f"{v:,.1f} €".translate(str.maketrans(",.", ".,")),
    "€1234.5": lambda v: f"€{v:.1f}",
    "£1,234.50": lambda v: f"£{v:,.2f}",
    "USD 1,234.5": lambda v: f"USD {v:,.1f}",
    "1'234.50 CHF": lambda v: f"{v:,.2f} CHF".replace(",", "'"),
    "1234.5%": lambda v: f"{v:.1f}%",
    "1234,5 %": lambda v: f"{v:.1f} %".replace(".", ","),
    "(1,234.5)": lambda v: f"({-v:,.1f})" if v < 0 else f"{v:,.1f}",
    "($1,234.5)": lambda v: f"(${-v:,.1f})" if v < 0 else f"${v:,.1f}",
    "1234.5-": lambda v: f"{abs(v):.1f}{'-' * (v < 0)}",
    "\u22121234.5": lambda v: f"{v:.1f}".replace("-", "\u2212"),
    "+1234.5": lambda v: f"{v:+.1f}",
    "1.2345e+03": lambda v: f"{v:.10e}",
    "1,2345E+03": lambda v: f"{v:.10E}".replace(".", ","),
    "1234.": lambda v: f"{v:.1f}".removesuffix("0"),
    "spaces around": lambda v: f"  {v:.1f} ",
}
AMOUNTS = [-2345.5, -12.5, 0.5, 7.0, 999.5, 1000.0, 1234567.5] + [113.5 * i for i in range(23)]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_each_convention_is_numbers(read, convention):
    """Oracle: the numbers that were written; as column and as target."""
    cells = [CONVENTIONS[convention](value) for value in AMOUNTS]
    np.testing.assert_allclose(read(column(cells)).X["x"], AMOUNTS)
    np.testing.assert_allclose(read(column(cells), "x", "regression").y, AMOUNTS)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        ([".5", "-.5", "1."], [0.5, -0.5, 1.0]),
        ([",5", "-,5", "1,"], [0.5, -0.5, 1.0]),
        (["1e-3", "1E3", "2e0"], [1e-3, 1e3, 2.0]),
        (["12,34,567", "1,23,456", "12,345"], [1234567, 123456, 12345]),  # India
        (["1,234,567", "2,000"], [1234567, 2000]),
        (["1.234.567", "2.000"], [1234567, 2000]),
        (["1,234", "980", "12,500"], [1234, 980, 12500]),
        (["1.234", "980", "12.500"], [1234, 980, 12500]),
        (["1,234", "2,5"], [1.234, 2.5]),
        (["1,234", "0,125"], [1.234, 0.125]),
        (["1.234", "2.5"], [1.234, 2.5]),
        (["1.125", "1234"], [1.125, 1234]),
        (["40", "41", "42,5"], [40, 41, 42.5]),
        (["0%", "45%", "7.5%"], [0, 45, 7.5]),
        (["$0", "1,200", "$3"], [0, 1200, 3]),
        (["12 kg", "13 kg", "1,500 kg"], [12, 13, 1500]),
        (["-3.5°C", "0°C"], [-3.5, 0]),
        (["1,5km/h", "2,25km/h"], [1.5, 2.25]),
        (["01", "02", "12"], [1, 2, 12]),  # months
        (["007.5", "012.25"], [7.5, 12.25]),
        (["18446744073709551617", "1"], [2.0**64, 1]),
    ],
)
def test_numbers_that_leave_no_doubt(read, cells, values):
    """Oracle: written here."""
    repeated = [cells[i % len(cells)] for i in range(N_ROWS)]
    expected = [values[i % len(values)] for i in range(N_ROWS)]
    np.testing.assert_allclose(read(column(repeated)).X["x"], expected)


@pytest.mark.parametrize(
    "cells",
    [
        ["1,5", "1.5"],
        ["$5", "€5"],
        ["45%", "0.45"],
        ["12 kg", "13 lb"],
        ["12 kg", "13"],
        ["1 m", "2 m²"],
        ["1st", "2nd"],
        ["1e", "2e"],
        ["1.2.3", "1.2.4"],
        ["10.0.0.1", "10.0.0.2"],
        ["1,2,3", "4,5,6"],
        ["1 2", "3 4"],
        ["00501", "99950"],
        ["3-5", "6-8"],
        ["1/2", "3/4"],
        ["0x1A", "0x1B"],
        ["1_000", "2_000"],
    ],
)
def test_what_is_no_number_by_any_one_convention_is_text(read, cells):
    """Oracle: the cells. No cell is read by another convention than its neighbour."""
    repeated = [cells[i % len(cells)] for i in range(N_ROWS)]
    assert set(read(column(repeated)).X["x"]) == set(cells)


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        # Nothing decides: thousands where a comma separates, decimals where Excel writes ";".
        ('x,y\n"1,234",0.5\n"2,345",1.5\n', 1234, True),
        ("x\ty\n1,234\t5\n2,345\t6\n", 1234, True),
        ("x;y\n1,234;5\n2,345;6\n", 1.234, True),
        ("x,y\n1.234,5\n2.345,6\n", 1.234, False),
        ("x;y\n1.234;5\n2.345;6\n", 1.234, True),
        # Another column decides.
        ("x;y\n1,234;0.5\n2,345;1.5\n", 1234, True),
        ("x;y\n1.234;0,5\n2.345;1,5\n", 1234, True),
        ("x;y\n1,234;0,5\n2,345;1,5\n", 1.234, True),
    ],
)
def test_a_mark_that_may_be_either_is_read_and_said(read, text, value, said):
    """Oracle: the rule in the docstring of ``choose``."""
    header, *rows = text.splitlines()
    problem = read("\n".join([header, *rows * 15]))
    assert problem.X["x"][0] == pytest.approx(value)
    assert any("1,234" in note or "1.234" in note for note in problem.notes) == said


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["13/01/2020", "01/14/2020", "15/01/2020"], "'13/01/2020' and '01/14/2020' together"),
        (["2020-01-13", "2020-01-14", "soon"], "'soon'"),
        (["2020-01-13", "2020-02-30", "2020-01-14"], "'2020-02-30'"),
        (["2020-01-13", "a", "b"], None),
    ],
)
def test_what_keeps_a_column_from_being_dates_is_said(read, cells, shown):
    """Oracle: the cells."""
    problem = read(column([cells[i % len(cells)] for i in range(N_ROWS)]))
    assert set(problem.X["x"]) == set(cells)
    said = [note for note in problem.notes if "dates do not look like" in note]
    assert said == (
        [] if shown is None else [f"column 'x' is text, for dates do not look like {shown}."]
    )


def test_a_unit_is_said(read):
    """Oracle: the cells."""
    problem = read(column([f"{i} kg" for i in range(N_ROWS)]))
    np.testing.assert_array_equal(problem.X["x"], range(N_ROWS))
    assert "read as numbers, without their kg: x." in problem.notes


def test_whole_numbers_that_all_differ_are_no_classes(read):
    """Oracle: there is no second row of any class."""
    few = "x,y\n" + "".join(f"{i / 2},{7 * i}\n" for i in range(12))
    assert read(few).task == "regression"
    assert read(few + few.partition("\n")[2]).task == "classification"


def test_no_advice_goes_in_a_circle(refusal):
    """Oracle: the message names the cell that is no number, whatever stands first."""
    cells = [f"{i},5" for i in range(N_ROWS - 1)] + ["12 kg"]
    assert "holds text such as '12 kg'" in refusal(column(cells), "x", "regression")
    cells = [f"{i}{',.'[i % 2]}5" for i in range(N_ROWS)]
    assert "such as '0,5' and '1.5' together" in refusal(column(cells), "x", "regression")


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["1.5", "12 kg", "3", "4"], "'12 kg'"),
        (["1", "5%", "3", "4"], "'1' and '5%' together"),
        (["1.5", "$2", "€3"], "cells of several kinds"),
        (["00501", "99950"], None),
        (["a", "b", "3"], None),
    ],
)
def test_what_keeps_a_column_from_being_numbers_is_said(read, cells, shown):
    """Oracle: the cells."""
    text = "x,z,y\n" + "".join(f"{cells[i % len(cells)]},{i}.5,{i}\n" for i in range(N_ROWS))
    said = [note for note in read(text).notes if "column 'x' is text" in note]
    assert bool(said) == (shown is not None)
    assert shown is None or shown in said[0]


def test_infinite_cells_are_gaps_of_a_column_and_refused_as_a_target(read, refusal):
    """Oracle: written here."""
    cells = ["inf", "-Infinity", "1.5", *map(str, range(N_ROWS - 3))]
    assert read(column(cells)).X["x"].isna().sum() == 2
    assert "infinite values" in refusal(column(cells), "x")


# Dates


def days(problem, name="x"):
    return np.asarray(problem.X[name], dtype=float)


DATE_FORMS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%m/%d/%Y",
    "%m-%d-%Y",
    "%m.%d.%Y",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%y-%m-%d",
    "%Y-%d-%m",
    "%d %b %Y",
    "%d-%b-%y",
    "%d%b%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%A, %d %B %Y",
    "%a %b %d %Y",
    "%d. %B %Y",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S.000",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S+00:00",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%d/%m/%Y, %H:%M:%S",
    "%G-W%V-%u",
    "%GW%V%u",
]


@pytest.mark.parametrize("form", DATE_FORMS)
def test_dates_are_counted_in_days(read, form):
    """Oracle: days since 1970 by the standard library. Every ninth day: some above 12."""
    problem = read(column([day.strftime(form) for day in DAYS]))
    assert days(problem) == pytest.approx([(day - date(1970, 1, 1)).days for day in DAYS])
    assert any("holds dates" in n or "holds weeks" in n for n in problem.notes)


@pytest.mark.parametrize("form", ["{0.day}.{0.month}.{0.year}", "{0.month}/{0.day}/{0.year}"])
def test_dates_without_zeros_in_front(read, form):
    """Oracle: as above."""
    problem = read(column([form.format(day) for day in DAYS]))
    assert np.diff(days(problem)) == pytest.approx(9)


MONTHS = [(1949 + i // 12, i % 12 + 1) for i in range(N_ROWS)]


@pytest.mark.parametrize(
    "form", ["{y}-{m:02}", "{y}-{m}", "{y}/{m:02}", "{m:02}/{y}", "{y}M{m:02}", "{b} {y}", "{b}-49"]
)
def test_months_begin_on_their_first_day(read, form):
    """Oracle: the standard library."""
    names = [date(2000, m, 1).strftime("%b") for _, m in MONTHS]
    cells = [form.format(y=y, m=m, b=b) for (y, m), b in zip(MONTHS, names)]
    if form.endswith("49"):
        cells = [f"{b}-{str(y)[2:]}" for (y, _), b in zip(MONTHS, names)]
        expected = [date(y + 100 * (y < 1969), m, 1) for y, m in MONTHS]
    else:
        expected = [date(y, m, 1) for y, m in MONTHS]
    problem = read(column(cells))
    assert days(problem) == pytest.approx([(d - date(1970, 1, 1)).days for d in expected])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2019Q1", "2019-Q3", "2020Q1"], [17897, 18078, 18262]),
        (["Q1 2019", "Q3 2019", "Q1 2020"], [17897, 18078, 18262]),
        (["2020-W01", "2020-W02", "2021-W01"], [18260, 18267, 18631]),
        (["12:00", "18:00", "06:00"], [0.5, 0.75, 0.25]),
        (["12:00:00 PM", "6:00:00 PM", "12:00:00 AM"], [0.5, 0.75, 0.0]),
        (["36:00:00", "24:00:00", "12:00:00"], [1.5, 1.0, 0.5]),
        (["1970-01-02T12:00:00+02:00", "1970-01-01T00:00:00-0600"], [1.5 - 2 / 24, 0.25]),
        (["1600-02-29", "1970-01-01"], [-135081, 0]),
        (["31.12.69", "01.01.70"], [-1, 0]),
        (["2020-02-29", "NA", ""], [18321, np.nan, np.nan]),
        (["0000-00-00", "1970-01-01", "1970-01-02"], [np.nan, 0, 1]),
    ],
)
def test_other_forms_of_time(read, cells, expected):
    """Oracle: days counted by hand, or by the standard library."""
    repeated = [cells[i % len(cells)] for i in range(N_ROWS)]
    if len({c for c in cells if c not in ("", "NA")}) == 1:
        repeated[-1], expected = "1970-01-01", expected
        np.testing.assert_equal(days(read(column(repeated)))[:3], expected)
        return
    np.testing.assert_allclose(days(read(column(repeated)))[: len(cells)], expected)


LOW = [f"0{i % 9 + 1}{{0}}0{i % 7 + 1}{{0}}2018" for i in range(N_ROWS)]  # none above 9


def test_nothing_decides_the_order_and_that_is_said(read):
    """Oracle: 02/01/2018 is February with the month first."""
    problem = read(column([cell.format("/") for cell in LOW]))
    assert days(problem)[1] == (date(2018, 2, 2) - date(1970, 1, 1)).days
    assert days(problem)[2] == (date(2018, 3, 3) - date(1970, 1, 1)).days
    assert days(problem)[7] == (date(2018, 8, 1) - date(1970, 1, 1)).days
    assert any("nothing decides whether day or month comes first" in n for n in problem.notes)


@pytest.mark.parametrize(
    "text",
    [
        column([cell.format(".") for cell in LOW]),
        "x;y\n" + "\n".join(f"{c.format('/')};{i},5" for i, c in enumerate(LOW)),
        "x,z,y\n" + "\n".join(f"{c.format('/')},31/12/2018,{i}" for i, c in enumerate(LOW)),
    ],
    ids=["dots", "decimal commas", "another column"],
)
def test_dots_decimal_commas_and_other_columns_decide_the_order(read, text):
    """Oracle: 08.01.2018 is in January with the day first."""
    assert days(read(text))[7] == (date(2018, 1, 8) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    "cells",
    [
        ["13/01/2018", "01/13/2018"],
        ["30.02.2018", "01.02.2018"],
        ["2018-01-02", "02.01.2018"],
        ["2018-13", "2018-14"],
        ["2019-W54", "2019-W01"],
        ["25:61", "12:00"],
        ["soon", "2018-01-02"],
    ],
)
def test_what_is_no_date_in_one_order_is_text(read, cells):
    """Oracle: the cells."""
    repeated = [cells[i % len(cells)] for i in range(N_ROWS)]
    assert set(read(column(repeated)).X["x"]) == set(cells)


def test_dates_can_be_predicted(read):
    """Oracle: days by the standard library."""
    problem = read(column([day.isoformat() for day in DAYS]).replace(",y", ",z"), "x")
    assert problem.task == "regression"
    assert problem.y.tolist() == [(day - date(1970, 1, 1)).days for day in DAYS]


# Words as gaps


@pytest.mark.parametrize("word", ["None", "NA", "N/A", "n/a", "none", "-", "missing"])
def test_words_are_labels_among_text_and_gaps_among_numbers(read, word):
    """Oracle: the cells; a label is said to be one."""
    among_text = [(word, "driver", "both")[i % 3] for i in range(N_ROWS)]
    problem = read(column(among_text), "x")
    assert set(problem.classes) == {word, "driver", "both"}
    assert len(problem.y) == N_ROWS
    assert set(read(column(among_text)).X["x"]) == {word, "driver", "both"}
    assert any("counts as a label" in note for note in problem.notes)
    among_numbers = [(word, "1.5", "2")[i % 3] for i in range(N_ROWS)]
    assert read(column(among_numbers)).X["x"].isna().sum() == 10
    assert len(read(column(among_numbers), "x", "regression").y) == 20


@pytest.mark.parametrize("word", ["", "?", "NaN", "NULL", "#N/A", r"\N", "<NA>"])
def test_marks_of_machines_are_gaps_everywhere(read, word):
    """Oracle: the cells."""
    for others in (("a", "b"), ("1.5", "2"), ("2018-08-14", "2018-08-15")):
        cells = [(word, *others)[i % 3] for i in range(N_ROWS)]
        assert read(column(cells)).X["x"].isna().sum() == 10


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["7", "7"], "the same value in every row"),
        (["a", "a"], "the same value in every row"),
        (["7", ""], "one value beside gaps"),
        (["7", "NA"], "one value beside gaps"),
        (["a", "?"], "one value beside gaps"),
        (["", ""], "without a value in any row"),
        (["NA", "NA"], "the same value in every row"),
        (["None", "a"], None),
        (["NA", "yes"], None),
    ],
)
def test_what_is_said_of_constant_columns_is_true(read, cells, reason):
    """Oracle: the cells."""
    text = "x,z,y\n" + "".join(f"{cells[i % 2]},{i}.5,{t}\n" for i, t in enumerate(TARGET))
    problem = read(text)
    assert ("x" in problem.X) == (reason is None)
    if reason:
        assert f"dropped, {reason}: x." in problem.notes


@pytest.mark.parametrize("words", [("yes", "no"), ("Y", "N"), ("t", "f"), ("ja", "nein")])
def test_answers_are_labels(read, words):
    """Oracle: the words."""
    assert read(column([words[i % 2] for i in range(N_ROWS)]), "x").classes == tuple(sorted(words))


@pytest.mark.parametrize("gap", ["", "NA", "?"])
def test_booleans_are_zero_and_one(read, gap):
    """Oracle: the words; a gap stays one."""
    problem = read(column([("True", "FALSE", gap)[i % 3] for i in range(N_ROWS)]))
    np.testing.assert_equal(problem.X["x"][:3].to_numpy(), [1.0, 0.0, np.nan])


# Broken files

GOOD = table()


def zipped(**files):
    """An archive; in names, two underscores stand for a slash and one for a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            place = name.replace("__", "/").replace("_", ".").replace("MACOSX", "__MACOSX")
            archive.writestr(place, content)
    return buffer.getvalue()


def tarred(*names, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(GOOD)
            archive.addfile(member, io.BytesIO(GOOD.encode()))
    return buffer.getvalue()


PACKED = {
    "a.csv.gz": gzip.compress(GOOD.encode()),
    "a.csv.bz2": bz2.compress(GOOD.encode()),
    "a.csv.xz": lzma.compress(GOOD.encode()),
    "a.zip": zipped(a_csv=GOOD),
    "mac.zip": zipped(a_csv=GOOD, MACOSX__a_csv="x"),
    "a.tar": tarred("a.csv"),
    "a.tar.gz": tarred("a.csv", mode="w:gz"),
    "a.tgz": tarred("folder/a.csv", mode="w:gz"),
    "a.tar.xz": tarred("a.csv", mode="w:xz"),
    "without suffix": gzip.compress(GOOD.encode()),
}


@pytest.mark.parametrize("name", PACKED)
def test_one_packed_file_is_read(read, name):
    """Oracle: the table before it was packed."""
    assert_is_the_table(read(PACKED[name], name=name))


def flipped(content):
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0xFF
    return bytes(damaged)


BROKEN = {
    "two.zip": (zipped(train_csv=GOOD, test_csv=GOOD), "holds 2 files (train.csv, test.csv)"),
    "none.zip": (zipped(), "an archive without files"),
    "two.tar.gz": (tarred("a.csv", "b.csv", mode="w:gz"), "holds 2 files"),
    "none.tar": (tarred(), "is named .tar, but not packed by tar"),
    "page.zip": (b"<html>404</html>", "is named .zip, but not packed by zip"),
    "cut.zip": (zipped(a_csv=GOOD)[:100], "is damaged or not complete (zip"),
    "flipped.zip": (flipped(zipped(a_csv=GOOD)), "is damaged or not complete (zip"),
    "cut.csv.gz": (PACKED["a.csv.gz"][:60], "is damaged or not complete (gzip"),
    "flipped.csv.gz": (flipped(PACKED["a.csv.gz"]), "is damaged or not complete (gzip"),
    "cut.csv.bz2": (PACKED["a.csv.bz2"][:60], "is damaged or not complete (bzip2"),
    "flipped.csv.bz2": (flipped(PACKED["a.csv.bz2"]), "is damaged or not complete (bzip2"),
    "cut.csv.xz": (PACKED["a.csv.xz"][:60], "is damaged or not complete (xz"),
    "flipped.csv.xz": (flipped(PACKED["a.csv.xz"]), "is damaged or not complete (xz"),
    "cut.tar": (tarred("a.csv")[:600], "is damaged or not complete (tar"),
    "plain.csv.gz": (GOOD.encode(), "is named .gz, but not packed by gzip"),
    "plain.csv.xz": (GOOD.encode(), "is named .xz, but not packed by xz"),
    "plain.csv.bz2": (GOOD.encode(), "is named .bz2, but not packed by bzip2"),
    "plain.tar": (GOOD.encode(), "is named .tar, but not packed by tar"),
    "plain.csv.zst": (GOOD.encode(), "is named .zst, but not packed by zstandard"),
    "packed.csv.zst": (b"\x28\xb5\x2f\xfd123", "is packed by zstandard, which is not read"),
    "packed.7z": (b"7z\xbc\xaf\x27\x1c123", "is packed by 7z, which is not read"),
    "packed.csv": (PACKED["a.csv.gz"], "is packed by gzip: unpack it, or give it a name"),
    "zip in zip in zip.zip": (
        zipped(a_zip=zipped(a_zip=zipped(a_csv=GOOD))),
        "an archive in an archive",
    ),
    "book.xlsx": (zipped(xl__workbook_xml="<x/>"), "is an Excel workbook"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is an Excel workbook"),
    "table.parquet": (b"PAR1\x15\x04" + bytes(90), "is a Parquet file"),
    "page.csv": (b"<!DOCTYPE html><html>Not found</html>", "is a web page"),
    "rows.csv": (b'[{"x": 1, "y": 2}]', "is JSON"),
    "rows.json": (b'{"x": [1, 2]}', "is JSON"),
    "pointer.csv": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "random.csv": (np.random.default_rng(0).bytes(3000), "is not a text file"),
    "zeros.csv": (bytes(3000), "is not a text file"),
    "zero byte.csv": (GOOD.encode().replace(b"red", b"r\0d"), "is not a text file"),
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n \n\n", "is empty"),
    "mark only.csv": (b"\xef\xbb\xbf", "is empty"),
    "names only.csv": (b"x,y\n", "has no rows below its line of column names"),
    "names only, no end.csv": (b"x,y", "has no rows below its line of column names"),
    "half of utf-16.csv": (GOOD.encode("utf-16")[:-1], "says that it is utf-16, and is not"),
    "open quote.csv": (GOOD.replace("red", '"red', 1).encode(), "a quote"),
    "open quote at the end.csv": ((GOOD + '"5,a').encode(), "line 32 is not closed"),
    "long open quote.csv": (('x,y\n"1,2\n' + "1,2\n" * 50_000).encode(), "a quote"),
    "no names.csv": (b"5.1,3.5,a\n4.9,3.0,b\n" * 20, "its first line holds numbers"),
    "one column.csv": (b"y\n" + b"1.5\n2.5\n" * 20, "has no usable column beside the target"),
    "other names.csv": (b"x,yy\n" + b"1,2\n" * 30, "did you mean 'yy'?"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_sentence(refusal, name):
    """Oracle: messages written here."""
    content, message = BROKEN[name]
    assert message in refusal(content, name=name)


def test_places_that_hold_no_file_are_one_sentence(tmp_path, monkeypatch):
    """Oracle: messages written here."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "wine.csv").write_text(GOOD)
    (tmp_path / "empty").mkdir()
    for path, message in {
        str(tmp_path / "folder"): "is a folder: name one of its files (wine.csv)",
        str(tmp_path / "empty"): "is a folder without files",
        str(tmp_path / "folder" / "wime.csv"): "file not found: ",
        str(tmp_path / "nowhere" / "wine.csv"): "file not found: ",
        "s3://bucket/wine.csv": "is an address of s3, which is not read from here",
        "gs://bucket/wine.csv": "is an address of gs, which is not read from here",
        "http://127.0.0.1:9/wine.csv": "cannot be fetched: ",
        "http://": "cannot be fetched: ",
        "file:///nowhere/wine.csv": "cannot be fetched: ",
        "a\0b.csv": "cannot be read: ",
        str(tmp_path / "folder" / "wine.csv" / "x.csv"): "cannot be read: ",
        "x" * 5000: "cannot be read: ",
        "": "is a folder",
        "~nobody_of_this_name/wine.csv": "wine.csv",
    }.items():
        with pytest.raises(InputError) as caught:
            read_csv_problem(path, "y")
        assert message in str(caught.value), path
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"did you mean .*wine\.csv"):
        read_csv_problem(str(tmp_path / "folder" / "wime.csv"), "y")


def test_a_file_that_may_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    """Oracle: the operating system's words, given here because root may read everything."""

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied", "data.csv")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"data\.csv cannot be read: Permission denied\.$"):
        read_csv_problem(str(tmp_path / "data.csv"), "y")


def test_standard_input_is_read(monkeypatch):
    """Oracle: the table."""
    for content in (GOOD.encode(), gzip.compress(GOOD.encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        problem = read_csv_problem("-", "y")
        assert_is_the_table(problem)
        assert problem.name == "standard input"


@pytest.mark.parametrize("closed", [None, "file"])
def test_standard_input_that_cannot_be_read_is_one_sentence(monkeypatch, closed):
    """Oracle: a closed one, none at all (as for a service), and one that is empty."""
    stdin = io.TextIOWrapper(io.BytesIO(b"")) if closed else None
    monkeypatch.setattr(sys, "stdin", stdin)
    if closed:
        with pytest.raises(InputError, match=r"^standard input is empty\.$"):
            read_csv_problem("-", "y")
        stdin.close()
    with pytest.raises(InputError, match="standard input is closed"):
        read_csv_problem("-", "y")


# Anything else

PIECES = [piece.encode() for piece in ",;|\t\"'\n\r#\0 $%()-+\\"]
PIECES += [b"NA", b"None", b"1,234", b"12:30", b"31/12/2018", b"W53", b"0000-00-00", b"1e999"]
PIECES += [b"\xff", b"\xef\xbb\xbf", b"9" * 400]


def mutated(content, rng):
    """Bytes with a few pieces put in, taken out, copied and replaced."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 12)):
        place, kind = rng.integers(len(content) + 1), rng.integers(4)
        if kind == 0:
            content[place:place] = PIECES[rng.integers(len(PIECES))]
        elif kind == 1:
            del content[place : place + rng.integers(1, 20)]
        elif kind == 2:
            content[place : place + 1] = rng.bytes(1)
        else:
            source = rng.integers(len(content) + 1)
            content[place:place] = content[source : source + rng.integers(60)]
    return bytes(content)


def test_no_file_ends_in_anything_but_a_problem_or_a_sentence(tmp_path):
    """Oracle: two outcomes, over SKOPU_FUZZ files (200) that were good before they were mutated."""
    rng = np.random.default_rng(0)
    seeds = [c if isinstance(c, bytes) else c.encode() for c in LAYOUTS.values()]
    seeds += [column([day.strftime(form) for day in DAYS]).encode() for form in DATE_FORMS]
    seeds += [column([write(v) for v in AMOUNTS]).encode() for write in CONVENTIONS.values()]
    seeds += PACKED.values()
    read = 0
    for _ in range(int(os.environ.get("SKOPU_FUZZ", 200))):
        path = tmp_path / ("data", "data.csv")[rng.integers(2)]
        path.write_bytes(mutated(seeds[rng.integers(len(seeds))], rng))
        try:
            problem = read_csv_problem(str(path), ("x", "y")[rng.integers(2)])
        except InputError:
            continue
        read += 1
        assert np.isfinite(problem.preprocessor.fit_transform(problem.X)).all()
        assert problem.is_classification or np.isfinite(problem.y).all()
    assert read > 0


@pytest.fixture
def server():
    """A server of one table, on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/folder/wine.csv?raw=1"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(GOOD.encode() if found else b"<html>no</html>")

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_an_address_is_fetched(server, monkeypatch):
    """Oracle: the table, and the server's own refusal."""
    monkeypatch.setenv("no_proxy", "*")
    problem = read_csv_problem(f"{server}/folder/wine.csv?raw=1", "y")
    assert_is_the_table(problem)
    assert problem.name == "wine"
    with pytest.raises(InputError, match="cannot be fetched: HTTP Error 404: Not Found"):
        read_csv_problem(f"{server}/nothing.csv", "y")


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/wine.csv", "wine"), ("wine.csv.gz", "wine"), ("a.b.tsv", "a.b"), ("wine", "wine")],
)
def test_a_table_is_called_like_its_file(path, name):
    """Oracle: written here."""
    assert table_name(path) == name
    assert table_name("https://host/folder/wine.csv?raw=1") == "wine"


def test_a_large_file_is_read_in_seconds(read):
    """Oracle: the values; the time is what a person waits for (0.3 s here)."""
    numbers = np.random.default_rng(0).normal(size=(20_000, 5)).round(4)
    text = "a,b,c,d,y\n" + "\n".join(",".join(map(str, row)) for row in numbers)
    np.testing.assert_array_equal(read(text).X["d"], numbers[:, 3])
