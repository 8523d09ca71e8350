"""Tests for visrec.ui.charts and its siblings: figures say the numbers, and never dress up the unknown."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visrec.ui import charts, charts_curves, charts_heat
from visrec.ui import charts_confusion as matrices

ROOT = Path(__file__).resolve().parents[2]


def words(figure) -> str:
    """Everything that is written into a figure."""
    notes = [a.text for a in figure.layout.annotations]
    texts = [str(w) for t in figure.data if t.type == "scatter" and t.mode == "text" for w in t.text]
    return "\n".join(notes + texts)


def some(counts, keys=(("a",), ("b",)), min_count=30) -> matrices.Matrices:
    counts = np.asarray(counts)
    return matrices.Matrices(("no", "yes"), keys, counts, counts.sum(axis=0), min_count)


class TestSmallMultiples:
    def test_one_heat_map_however_many_cells(self):
        """63 subplots repaint in over a second; one trace in a fifth."""
        keys = tuple((f"r{i}", f"a{j}") for i in range(7) for j in range(9))
        figure = matrices.small_multiples(some(np.full((63, 2, 2), 20), keys))

        assert 1 == sum(t.type == "heatmap" for t in figure.data)
        assert 63 * 4 == len(figure.data[-1].x)

    def test_every_square_can_be_clicked_and_names_itself(self):
        """The invisible squares carry cell, label and answer, since a heat map cannot be clicked."""
        squares = matrices.small_multiples(some([[[40, 1], [2, 30]], [[3, 1], [1, 1]]])).data[-1]

        assert 0 == squares.marker.opacity
        assert [(c, i, j) for c in (0, 1) for i in (0, 1) for j in (0, 1)] == [tuple(d) for d in squares.customdata]
        assert "label no, answered yes<br>1 of 41 rows" in squares.text[1]

    def test_squares_lie_on_their_colour(self):
        """Each clickable square is inside the heat map square whose value it speaks of."""
        table = some([[[40, 1], [2, 30]], [[30, 10], [5, 25]]])
        figure = matrices.small_multiples(table)
        heat, squares = figure.data[0], figure.data[-1]
        shares = matrices.shares_of_row(table.counts)

        for x, y, (cell, i, j) in zip(squares.x, squares.y, squares.customdata, strict=True):
            column, line = np.searchsorted(heat.x, x) - 1, np.searchsorted(heat.y, y) - 1
            assert shares[cell, i, j] == heat.z[line][column]

    @pytest.mark.parametrize("show", [matrices.SHARE, matrices.DIFFERENCE])
    def test_small_cell_takes_no_colour_and_no_share(self, show):
        """Seven right answers of seven are not a yellow square."""
        figure = matrices.small_multiples(some([[[40, 1], [2, 30]], [[4, 0], [0, 3]]]), show)

        assert 4 == np.isfinite(np.array(figure.data[0].z, dtype=float)).sum()
        assert "unknown, n = 7" in words(figure)
        assert "1.0" not in words(figure)

    def test_counts_stay_visible_in_small_cells(self):
        """A count is a fact, whatever its size; only the share is unknown."""
        figure = matrices.small_multiples(some([[[400, 1], [2, 30]], [[4, 0], [0, 3]]]), matrices.COUNTS)

        numbers = next(t.text for t in figure.data if t.type == "scatter" and t.text and "400" in t.text)
        assert "4" in numbers

    def test_label_without_rows_is_unknown_within_a_known_cell(self):
        """No row with that label: no share of it."""
        shown, _ = matrices.shown_values(some([[[40, 1], [0, 0]], [[40, 1], [1, 9]]]), matrices.SHARE)

        assert np.isnan(shown[0, 1]).all()

    def test_difference_is_share_minus_overall_share(self):
        """By hand: 30/40 in the cell, 70/80 overall."""
        shown, _ = matrices.shown_values(some([[[40, 0], [1, 9]], [[30, 10], [9, 1]]]), matrices.DIFFERENCE)

        assert 30 / 40 - 70 / 80 == pytest.approx(shown[1, 0, 0])

    def test_difference_scale_is_symmetric(self):
        """No difference is the middle of the scale, so grey."""
        figure = matrices.small_multiples(some([[[40, 0], [1, 9]], [[30, 10], [9, 1]]]), matrices.DIFFERENCE)

        assert figure.data[0].zmin == -figure.data[0].zmax

    @given(st.integers(1, 80), st.integers(1, 12), st.integers(2, 7))
    def test_matrices_never_overlap(self, cells, per_line, classes):
        """Whatever the number of cells and classes, each matrix has a place of its own."""
        grid = matrices.arrange([(str(i),) for i in range(cells)], per_line)

        assert cells == len(set(grid.places))
        assert all(line < grid.lines and column < grid.columns for line, column in grid.places)


class TestOverallMatrix:
    def test_share_and_count_in_each_square(self):
        """Both numbers, so that nobody has to hover."""
        assert "0.976\n40" in words(matrices.overall_matrix(some([[[40, 1], [2, 30]]], (("a",),)))).replace(
            "<br>", "\n"
        )

    def test_its_squares_carry_minus_one(self):
        """A click on the overall matrix means every row."""
        assert {-1} == {
            d[0] for d in matrices.overall_matrix(some([[[40, 1], [2, 30]]], (("a",),))).data[-1].customdata
        }


class TestHeatTable:
    def test_unknown_squares_have_no_number(self):
        """Hatched, and not zero."""
        values = pd.DataFrame({"TPR": [0.5, np.nan], "FPR": [0.1, 0.2]}, index=["a", "b"])
        figure = charts_heat.heat_table(values)

        assert ["0.500", "0.100", "", "0.200"] == list(figure.data[-1].text)
        assert len(figure.data[1].x) > 0

    def test_one_group_alone_is_in_the_middle(self):
        """Nothing to compare with: neither best nor worst colour."""
        figure = charts_heat.heat_table(pd.DataFrame({"TPR": [0.5]}, index=["a"]))

        assert 0.5 == figure.data[0].z[0][0]


@given(st.floats(0, 1), st.sampled_from([charts.SEQUENTIAL, charts.DIVERGING]))
def test_ink_is_always_readable(level, scale):
    """Contrast of at least 4.5:1 on any colour of our scales."""
    from plotly import colors

    stops = colors.get_colorscale(scale) if isinstance(scale, str) else scale
    [colour] = colors.sample_colorscale(stops, [level])
    rgb = np.array(colors.unlabel_rgb(colour)) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    ink = charts.ink_on(np.array([level]), scale)[0]
    contrast = 1.05 / (luminance + 0.05) if ink == "#ffffff" else (luminance + 0.05) / 0.05

    assert contrast >= 4.4


@pytest.mark.parametrize("background", ["#FFFFFF", "#12191C"])
@pytest.mark.parametrize("colour", [charts.BLUE, charts.VERMILLION, charts.GREEN, charts.GREY, charts.ORANGE])
def test_marks_stand_out_in_both_themes(colour, background):
    """Lines and dots reach 3:1 (WCAG 2.2, 1.4.11) on the light and on the dark page."""
    from plotly import colors

    def luminance(text):
        rgb = np.array(colors.hex_to_rgb(text)) / 255
        return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted([luminance(colour), luminance(background)], reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 2.9


def test_whole_figures_are_what_plotly_allows():
    """A sheet checks nothing while it is drawn; here Plotly checks every property of each kind of chart."""
    import plotly.graph_objects as go

    counts = np.array([[[9, 1], [2, 8]], [[1, 0], [0, 0]]])
    drawn = matrices.Matrices(("no", "yes"), (("a",), ("b",)), counts, counts.sum(axis=0), 5)
    curve = pd.DataFrame({"threshold": [np.inf, 0.5, 0.0], "fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.9, 1.0]})
    bins = pd.DataFrame({"score": [0.2], "observed": [0.3], "low": [0.1], "high": [0.5], "n": [40]})
    figures = [
        charts_heat.heat_table(pd.DataFrame({"tpr": [0.5, np.nan]}, index=["a", "b"])),
        *(matrices.small_multiples(drawn, show, selected=(0, 1, 0)) for show in matrices.SHOWS),
        matrices.overall_matrix(drawn, selected=(-1, 0, 0)),
        charts_curves.roc_curves({"a": curve}, threshold=0.5),
        charts_curves.calibration_curves({"a": bins}),
        charts_curves.sweep_lines(pd.DataFrame({"threshold": [0.5], "gap": [np.nan], "accuracy": [0.9]})),
    ]

    for figure in figures:
        spec = charts.themed(figure, charts.THEMES["dark"]).to_dict()

        assert len(figure.data) == len(go.Figure(spec).data)
        assert "#E6EDEF" == spec["layout"]["xaxis"]["tickfont"]["color"] == spec["layout"]["font"]["color"]


def test_a_chart_says_all_that_would_make_plotly_draw_it_twice():
    """Streamlit hands a figure over twice; a template, data without a revision or a click set late is drawn again."""
    counts = np.array([[[40, 1], [2, 30]]])
    grid = matrices.small_multiples(matrices.Matrices(("no", "yes"), (("a",),), counts, counts[0], 5))
    by_hand = charts.blank(200).add_scatter(x=[1, 2], y=[3, 4])
    for figure in (grid, by_hand):
        spec = json.loads(pio.to_json(charts.themed(figure, charts.THEMES["light"]).to_dict(), validate=False))

        assert spec["layout"]["template"] is None
        assert 1 == spec["layout"]["datarevision"]
    assert ("event+select", "pan") == (grid.layout.clickmode, grid.layout.dragmode)


def test_a_chart_takes_what_its_sheet_says_and_the_look_for_the_rest():
    """Themed once or twice, the figure is the same; and the sheet itself is left alone."""
    sheet = charts.Sheet(100, margin={"l": 3})
    sheet.x_axis(title={"text": "share", "font": {"size": 11}})
    figure = sheet.figure()
    themed = charts.themed(figure, charts.THEMES["light"])

    assert themed.to_dict() == charts.themed(themed, charts.THEMES["light"]).to_dict()
    assert {"l": 3, "r": 8, "t": 28, "b": 36} == themed.to_dict()["layout"]["margin"]
    assert 11 == themed.layout.xaxis.title.font.size
    assert 14 == themed.layout.yaxis.title.font.size
    assert "font" not in figure.to_dict()["layout"]


def test_the_charts_colours_are_those_of_the_pages():
    """`charts.THEMES` repeats what `.streamlit/config.toml` says."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]

    for name, theme in charts.THEMES.items():
        said = config[name]
        assert (said["textColor"], said["backgroundColor"], said["borderColor"]) == (
            theme.ink, theme.ground, theme.line
        )  # fmt: skip
