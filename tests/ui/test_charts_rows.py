"""Tests for visrec.ui.charts_rows: each row says its numbers, draws them in place, and never dresses up the unknown."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec.ui import charts_rows

NO_CLOSE = {"br", "img", "link", "meta", "input"}


class Drawn(HTMLParser):
    """What a browser makes of rows: text by class, and each mark with its place in percent."""

    def __init__(self, rows: str):
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.marks: list[dict] = []
        self.titles: list[str] = []
        self.feed(rows)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.open += [] if tag in NO_CLOSE else [tag]
        if tag == "i":
            styles = dict(part.split(":", 1) for part in said["style"].split(";"))
            places = {k: float(v.rstrip("%")) for k, v in styles.items() if v.endswith("%")}
            self.marks.append({"kind": said["class"], "colour": styles.get("color"), **places})
        if said.get("role") == "listitem":
            self.titles.append(said["title"])

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, kind: str) -> list[dict]:
        return [mark for mark in self.marks if mark["kind"].split()[0] == kind]

    @property
    def words(self) -> str:
        return "\n".join(text for tag, text in self.texts if tag != "style")


def axis_of(rows: str) -> tuple[float, float]:
    """The ends of the axis, from two of its numbers."""
    found = re.findall(r'left:([\d.]+)%">([^<]+)</span>', rows[rows.index('class="vr-axis"') :])
    (a, x), (b, y) = [(float(place), float(text.replace("−", "-"))) for place, text in (found[0], found[-1])]
    unit = (y - x) / (b - a)
    return x - a * unit, x + (100 - a) * unit


@pytest.fixture
def cells() -> pd.DataFrame:
    """Three cells: one known, one too small with no error at all, one without a row."""
    return pd.DataFrame(
        {
            "cell": ["Black · 60-69", "White · 3-9", "Indian · 0-2"],
            "value": [0.74, 1.0, np.nan],
            "low": [0.66, 0.646, np.nan],
            "high": [0.81, 1.0, np.nan],
            "n": [118, 7, 0],
            "small": [False, True, True],
        }
    )


class TestCellDots:
    def test_small_cell_has_no_dot_and_says_unknown(self, cells):
        """A cell of 7 without an error must not look like the best one."""
        drawn = Drawn(charts_rows.cell_dots(cells, overall=0.9))

        assert 1 == len(drawn.of("vr-dot"))
        assert 2 == len(drawn.of("vr-unknown"))
        assert "unknown, n = 7" in drawn.words
        assert "1.000" not in drawn.words

    def test_known_cell_shows_value_interval_and_count(self, cells):
        """The number is in the text, not only in its position."""
        rows = charts_rows.cell_dots(cells, overall=0.9)

        assert "<b>0.740</b> (0.660–0.810) n = 118" in rows
        assert "Black · 60-69\n0.740000, 95 % interval 0.660000 to 0.810000\nn = 118" == Drawn(rows).titles[0]

    def test_axis_fits_the_known_cells_only(self, cells):
        """An unknown cell's 0..1 interval must not squeeze the known ones together."""
        rows = charts_rows.cell_dots(cells, overall=0.9)
        low, high = axis_of(rows)

        assert 0.6 < low < 0.66
        assert 0.9 < high <= 1.0

    def test_all_unknown_still_draws(self, cells):
        """No known cell: hatched rows, no exception."""
        drawn = Drawn(charts_rows.cell_dots(cells.iloc[1:], overall=float("nan")))

        assert 2 == drawn.words.count("unknown")
        assert [] == drawn.of("vr-mark")

    def test_no_cell_at_all_still_draws(self, cells):
        """An axis without rows."""
        assert [] == Drawn(charts_rows.cell_dots(cells.head(0), overall=float("nan"))).titles

    @pytest.mark.parametrize(("overall", "side"), [(0.41, "start"), (0.5, "middle"), (0.59, "end")])
    def test_name_of_the_line_leans_towards_the_middle(self, overall, side):
        """At an edge of the chart a centred name would be cut off."""
        table = pd.DataFrame({"cell": ["a"], "value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "small": False})

        assert f'<span class="{side}"' in charts_rows.cell_dots(table, overall=overall)

    def test_data_is_never_markup(self, cells):
        """A value from a label file, or a column's name, stays text, in the row and in what the mouse is told."""
        evil = '"><img src=x onerror=alert(1)><b title="'
        cells["cell"] = evil
        rows = charts_rows.cell_dots(cells, overall=0.9, reference=evil, title=evil)

        assert "<img" not in rows
        assert Drawn(rows).titles[0].startswith(evil)

    @given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3)), min_size=1, max_size=20), st.floats(0, 1))
    def test_marks_stand_where_the_axis_says(self, values, overall):
        """Dot, interval and line, read off the axis, are the numbers; nothing is drawn outside."""
        value = np.array([v for v, _ in values])
        wide = np.array([w for _, w in values])
        table = pd.DataFrame({
            "cell": [f"g{i}" for i in range(len(value))], "value": value, "low": np.maximum(value - wide, 0),
            "high": np.minimum(value + wide, 1), "n": 50, "small": False,
        })  # fmt: skip
        rows = charts_rows.cell_dots(table, overall=overall)
        drawn = Drawn(rows)
        low, high = axis_of(rows)
        lines = drawn.of("vr-line")

        def read(place: float) -> float:
            return low + place / 100 * (high - low)

        assert all(-1e-6 <= mark["left"] <= 100.001 for mark in drawn.marks)
        assert value == pytest.approx([read(mark["left"]) for mark in drawn.of("vr-dot")], abs=1e-3)
        assert table["low"].to_numpy() == pytest.approx([read(mark["left"]) for mark in lines], abs=1e-3)
        assert table["high"].to_numpy() == pytest.approx([read(m["left"] + m["width"]) for m in lines], abs=1e-3)
        assert overall == pytest.approx(read(drawn.of("vr-mark")[0]["left"]), abs=1e-3)


class TestGapRows:
    @pytest.fixture
    def gaps(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "name": ["accuracy", "true positive rate", "false positive rate"],
                "value": [0.11, 0.05, np.nan],
                "low": [0.05, 0.0, np.nan],
                "high": [0.17, 0.12, np.nan],
                "null_low": [0.0, 0.0, np.nan],
                "null_high": [0.03, 0.06, np.nan],
                "ideal": 0.0,
                "verdict": ["supported", "cannot tell", "too few images"],
            }
        )

    def test_each_row_has_its_verdict_in_words(self, gaps):
        """Colour and symbol never carry the verdict alone."""
        rows = charts_rows.gap_rows(gaps)

        assert "0.110 · <b>supported</b>" in rows
        assert "0.050 · cannot tell" in rows
        assert "unknown · too few images" in rows

    def test_band_is_the_null_band(self, gaps):
        """Grey runs from the low to the high end of what chance shows, and only where it is known."""
        drawn = Drawn(charts_rows.gap_rows(gaps))
        bands, lines = drawn.of("vr-band"), drawn.of("vr-line")
        unit = lines[0]["width"] / 0.12

        assert [0.03 * unit, 0.06 * unit] == pytest.approx([band["width"] for band in bands], abs=0.01)
        assert {bands[0]["left"]} == {bands[1]["left"], *(mark["left"] for mark in drawn.of("vr-mark"))}
        assert "chance alone: 0.000000 to 0.030000" in drawn.titles[0]

    def test_verdicts_differ_in_symbol(self, gaps):
        """Told apart without colour."""
        kinds = [mark["kind"] for mark in Drawn(charts_rows.gap_rows(gaps)).of("vr-dot")]

        assert ["vr-dot full", "vr-dot hollow"] == kinds


@given(st.floats(-2, 2), st.floats(0.001, 3))
def test_an_axis_has_a_few_round_numbers(low, width):
    """Between two and seven, within the axis, each as it is written."""
    ticks = charts_rows._Axis(low, low + width).ticks()

    assert 2 <= len(ticks) <= 7
    for value, text in ticks:
        assert low - 1e-6 <= value <= low + width + 1e-6
        assert value == pytest.approx(float(text.replace("−", "-")), abs=1e-9)
