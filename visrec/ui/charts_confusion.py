"""Charts of confusion matrices: small multiples, one matrix per cell, drawn as one heat map on a grid with gaps.

In a *matrix* each line is a label and each column an answer, so a line sums to the rows with that label. All matrices
of a figure share one colour scale. One heat map trace repaints in a fifth of a second where 63 subplots take well over
a second; because a click on a heat map selects nothing (streamlit#8760), invisible squares lie on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from visrec.ui import charts

COUNTS, SHARE, DIFFERENCE = "counts", "share of row", "difference to overall"
SHOWS = (SHARE, COUNTS, DIFFERENCE)

GAP_X = 0.4
PAGE = 820
"""Pixels of a chart on a page of usual width, beside the sidebar."""

SQUARES = 24
"""So many squares beside each other still have room for their numbers."""

HEADING, BELOW, AIR = 20, 18, 10
"""Pixels above a matrix for its name, below it for its count, and between."""


@dataclass(frozen=True)
class Matrices:
    """Confusion matrices of the cells of one crossing, with the overall one to compare with.

    Attributes
    ----------
    labels : the k classes
    keys : values of the split attributes, cell by cell; one or two each
    counts : int (cells, k, k), rows = label, columns = prediction
    overall : int (k, k)
    min_count : a cell with fewer rows is unknown
    """

    labels: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    counts: np.ndarray
    overall: np.ndarray
    min_count: int

    @property
    def n(self) -> np.ndarray:
        """Rows of each cell, int (cells,)."""
        return self.counts.sum(axis=(1, 2))

    @property
    def small(self) -> np.ndarray:
        """Which cells are below the minimum count, bool (cells,)."""
        return self.n < self.min_count


def shares_of_row(counts: np.ndarray) -> np.ndarray:
    """Each count over the rows with its label; NaN where no row has that label.

    >>> shares_of_row(np.array([[3, 1], [0, 0]])).tolist()
    [[0.75, 0.25], [nan, nan]]
    """
    total = counts.sum(axis=-1, keepdims=True).astype(float)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def shown_values(matrices: Matrices, show: str) -> tuple[np.ndarray, np.ndarray]:
    """What colour and what number each square takes.

    Returns
    -------
    colour, number : float64 (cells, k, k)
        For counts the colour is still the share of row: counts of cells of different size share no scale.
        Both NaN where unknown; small cells are unknown in all but their counts.
    """
    share = shares_of_row(matrices.counts)
    share[matrices.small] = np.nan
    if show == COUNTS:
        return share, matrices.counts.astype(float)
    if show == DIFFERENCE:
        share = share - shares_of_row(matrices.overall)
    return share, share


def square_text(value: float, show: str) -> str:
    """The number inside a square, short enough for it.

    >>> square_text(0.9412, SHARE), square_text(-0.031, DIFFERENCE), square_text(1122, COUNTS)
    ('.94', '−.03', '1,122')
    >>> square_text(1.0, SHARE), square_text(float("nan"), SHARE), square_text(0.001, DIFFERENCE)
    ('1.0', '', '0')
    """
    if np.isnan(value):
        return ""
    if show == COUNTS:
        return charts.count_text(value)
    text = f"{value:+.2f}" if show == DIFFERENCE else f"{value:.2f}"
    if float(text) == 0:
        return "0"
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    digits = "1.0" if digits == "1.00" else digits.lstrip("0")
    return sign.replace("-", "−") + digits


@dataclass(frozen=True)
class Grid:
    """Where each cell's matrix lies: places in columns and lines of matrices, and the headings."""

    places: tuple[tuple[int, int], ...]
    lines: int
    columns: int
    heads: tuple[str, ...]  # above the grid, one per column; empty when each matrix carries its own name
    line_heads: tuple[str, ...]  # above each line of matrices, likewise


def arrange(keys: Sequence[Sequence[str]], per_line: int) -> Grid:
    """One attribute: matrices flow, ``per_line`` to a line. Two: a line per value of the first, a column of the second.

    >>> arrange([("a",), ("b",), ("c",)], 2).places
    ((0, 0), (0, 1), (1, 0))
    >>> grid = arrange([("a", "x"), ("b", "y")], 9)
    >>> grid.places, grid.heads, grid.line_heads
    (((0, 0), (1, 1)), ('x', 'y'), ('a', 'b'))
    """
    if not keys or len(keys[0]) < 2:
        per_line = max(1, min(per_line, len(keys)))
        places = tuple(divmod(i, per_line) for i in range(len(keys)))
        return Grid(places, -(-len(keys) // per_line), per_line, (), ())
    firsts, seconds = (list(dict.fromkeys(key[i] for key in keys)) for i in (0, 1))
    places = tuple((firsts.index(key[0]), seconds.index(key[1])) for key in keys)
    return Grid(places, len(firsts), len(seconds), tuple(seconds), tuple(firsts))


def square_pixels(classes: int, columns: int = 9) -> int:
    """Height of one square: about as high as wide on a page of usual width, never too flat for a number.

    >>> square_pixels(2), square_pixels(7, columns=2), square_pixels(9, columns=9)
    (32, 32, 14)
    """
    least = {1: 34, 2: 32, 3: 28, 4: 22}.get(classes, 14)
    return max(least, min(32, int(0.7 * PAGE / (columns * (classes + GAP_X)))))


def matrices_per_line(classes: int) -> int:
    """How many matrices stand beside each other when split by one attribute, so that their numbers can be read.

    >>> matrices_per_line(2), matrices_per_line(7)
    (7, 3)
    """
    return max(1, min(7, SQUARES // classes))


def least_width(grid: Grid, classes: int) -> int:
    """Pixels below which the squares would not be readable: the page scrolls sideways instead."""
    side = 33 if classes <= 3 else 30
    return int(grid.columns * (classes + GAP_X) * side + 16)


def small_multiples(
    matrices: Matrices, show: str = SHARE, *, per_line: int | None = None, selected: tuple[int, int, int] | None = None
) -> go.Figure:
    """All matrices in one figure: one heat map trace, counts below, small cells hatched and called unknown.

    Parameters
    ----------
    matrices : what to draw
    show : one of `SHOWS`
    per_line : matrices beside each other when split by one attribute; None takes `matrices_per_line`
    selected : (cell, label, prediction) of the square to outline

    Returns
    -------
    Figure
        The last trace carries ``customdata`` (cell, label, prediction) for each clickable square.
    """
    k = len(matrices.labels)
    grid = arrange(matrices.keys, per_line or matrices_per_line(k))
    pixels = square_pixels(k, grid.columns)
    top, pitch_x = HEADING / pixels, k + GAP_X
    pitch_y = k + (HEADING + BELOW + AIR) / pixels
    corners = [(column * pitch_x, top + line * pitch_y) for line, column in grid.places]
    height = grid.lines * pitch_y
    head = 22 if grid.heads else 0
    figure = charts.Sheet(int(height * pixels) + head + 12, margin={"l": 4, "r": 4, "t": head + 4, "b": 4})
    _heat(figure, matrices, show, grid, (pitch_x, pitch_y, top))
    _hatch(figure, matrices, corners)
    figure.frames([(x, y, x + k, y + k) for x, y in corners], 1 / pixels)
    if k <= 3 or grid.columns * k <= SQUARES:
        _numbers(figure, matrices, show, corners)
    _words(figure, matrices, grid, corners, (pitch_x, pitch_y), pixels)
    if selected is not None and selected[0] < len(corners):
        _mark(figure, corners[selected[0]], selected)
    _squares(figure, matrices, corners, pixels)
    figure.x_axis(visible=False, range=[-0.1, grid.columns * pitch_x - GAP_X + 0.1])
    figure.y_axis(visible=False, range=[height, 0])
    return figure.figure()


def _heat(figure: charts.Sheet, matrices: Matrices, show: str, grid: Grid, pitch: tuple[float, float, float]) -> None:
    k = len(matrices.labels)
    pitch_x, pitch_y, top = pitch
    colour, _ = shown_values(matrices, show)
    z = np.full((grid.lines * (k + 1) - 1, grid.columns * (k + 1) - 1), np.nan)
    for (line, column), values in zip(grid.places, colour, strict=True):
        part = (slice(line * (k + 1), line * (k + 1) + k), slice(column * (k + 1), column * (k + 1) + k))
        z[part] = values
    low, high, scale = colour_range(colour, show)
    figure.add(
        "heatmap",
        z=z,
        x=[c * pitch_x + i for c in range(grid.columns) for i in range(k + 1)],
        y=[top + r * pitch_y + i for r in range(grid.lines) for i in range(k + 1)],
        colorscale=scale,
        zmin=low,
        zmax=high,
        showscale=False,
        hoverinfo="skip",
        hoverongaps=False,
    )


def colour_range(colour: np.ndarray, show: str) -> tuple[float, float, str | list]:
    """Lowest and highest value of the colour scale, and the scale: one for all matrices of a figure."""
    if show != DIFFERENCE:
        return 0.0, 1.0, charts.SEQUENTIAL
    known = np.abs(colour[np.isfinite(colour)])
    reach = max(float(known.max()) if known.size else 0.0, 0.05)
    return -reach, reach, charts.DIVERGING


def _numbers(figure: charts.Sheet, matrices: Matrices, show: str, corners) -> None:
    k = len(matrices.labels)
    colour, number = shown_values(matrices, show)
    low, high, scale = colour_range(colour, show)
    ink = charts.ink_on((colour - low) / (high - low), scale)
    places = [(x + j + 0.5, y + i + 0.5) for x, y in corners for i in range(k) for j in range(k)]
    words = [square_text(v, show) for v in number.ravel()]
    told = [i for i, word in enumerate(words) if word]  # the unknown have none
    figure.write(
        [places[i] for i in told], [words[i] for i in told], "middle center", charts.SMALL_FONT, color=ink.ravel()[told]
    )


def _hatch(figure: charts.Sheet, matrices: Matrices, corners: Sequence[tuple[float, float]]) -> None:
    k = len(matrices.labels)
    unknown = []
    for (x, y), counts, small in zip(corners, matrices.counts, matrices.small, strict=True):
        if small:
            unknown.append((x, y, x + k, y + k))
        else:
            unknown += [(x, y + i, x + k, y + i + 1) for i in np.nonzero(counts.sum(axis=1) == 0)[0]]
    figure.hatch(unknown)


def _words(figure, matrices: Matrices, grid: Grid, corners, pitch: tuple[float, float], pixels: int) -> None:
    k = len(matrices.labels)
    below = [
        f"unknown, n = {charts.count_text(n)}" if small else f"n = {charts.count_text(n)}"
        for n, small in zip(matrices.n, matrices.small, strict=True)
    ]
    figure.write(
        [(x + k / 2, y + k + 2 / pixels) for x, y in corners],
        below,
        "bottom center",
        charts.SMALL_FONT,
    )
    if not grid.heads:
        names = [charts.escape(charts.cell_name(key)) for key in matrices.keys]
        figure.write([(x, y) for x, y in corners], names, "top right", 12)
        return
    above = {"y": 1, "yref": "paper", "yanchor": "bottom"}
    heads = [
        charts.words(f"<b>{charts.escape(head)}</b>", x=column * pitch[0] + k / 2, **above)
        for column, head in enumerate(grid.heads)
    ]
    figure.notes += heads
    lines = [(0, line * pitch[1] + 2 / pixels) for line in range(len(grid.line_heads))]
    figure.write(lines, [f"<b>{charts.escape(h)}</b>" for h in grid.line_heads], "bottom right", 12)


def _mark(figure: charts.Sheet, corner: tuple[float, float], selected: tuple[int, int, int]) -> None:
    x, y = corner[0] + selected[2], corner[1] + selected[1]
    figure.add(
        "scatter",
        x=[x, x + 1, x + 1, x, x],
        y=[y, y, y + 1, y + 1, y],
        mode="lines",
        line={"color": charts.VERMILLION, "width": 4},
        hoverinfo="skip",
    )


def _squares(figure: charts.Sheet, matrices: Matrices, corners, pixels: int) -> None:
    k = len(matrices.labels)
    # what Streamlit sets for a chart that can be clicked; set later, it would cost a second drawing
    figure.layout |= {"clickmode": "event+select", "dragmode": "pan"}
    share = shares_of_row(matrices.counts)
    xs, ys, data, words = [], [], [], []
    for cell, (x, y) in enumerate(corners):
        name = charts.escape(charts.cell_name(matrices.keys[cell])) or "all"
        for i in range(k):
            for j in range(k):
                xs.append(x + j + 0.5)
                ys.append(y + i + 0.5)
                data.append((cell, i, j))
                words.append(_hover(name, matrices, cell, i, j, share[cell, i, j]))
    figure.add(
        "scatter",
        x=xs,
        y=ys,
        mode="markers",
        marker={"symbol": "square", "size": pixels, "opacity": 0, "color": charts.GREY},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        customdata=data,
        text=words,
        hovertemplate="%{text}<extra></extra>",
        name="squares",
    )


def _hover(name: str, matrices: Matrices, cell: int, i: int, j: int, share: float) -> str:
    label, answer = charts.escape(matrices.labels[i]), charts.escape(matrices.labels[j])
    count, of = int(matrices.counts[cell, i, j]), int(matrices.counts[cell, i].sum())
    text = f"<b>{name}</b><br>label {label}, answered {answer}<br>{count:,} of {of:,} rows"
    if matrices.small[cell]:
        return f"{text}<br>unknown: fewer than {matrices.min_count} rows in this group"
    return text + (f" = {share:.6f}" if np.isfinite(share) else "")


def overall_matrix(matrices: Matrices, *, selected: tuple[int, int, int] | None = None) -> go.Figure:
    """The one matrix of all rows, larger: share of row and count in each square, labels at its sides.

    ``selected`` and the clickable squares use the cell number -1.
    """
    k, counts = len(matrices.labels), matrices.overall
    pixels = max(24, min(76, 380 // k))
    share = shares_of_row(counts)
    names = [charts.escape(label).replace(" ", "<br>") for label in matrices.labels]
    top = 54 + 16 * max(name.count("<br>") + 1 for name in names)
    figure = charts.Sheet(k * pixels + top + 12, margin={"l": 8, "r": 8, "t": top, "b": 8})
    figure.add(
        "heatmap",
        z=share,
        x=np.arange(k + 1) - 0.5,
        y=np.arange(k + 1) - 0.5,
        colorscale=charts.SEQUENTIAL,
        zmin=0,
        zmax=1,
        showscale=False,
        hoverinfo="skip",
        xgap=2,
        ygap=2,
    )
    if pixels >= 40:
        places = [(j, i) for i in range(k) for j in range(k)]
        words = [_both(share[i, j], counts[i, j]) for j, i in places]
        ink = charts.ink_on(share.ravel(), charts.SEQUENTIAL)
        figure.write(places, words, "middle center", 13, color=ink)
    if selected is not None and selected[0] == -1:
        _mark(figure, (-0.5, -0.5), selected)
    one = Matrices(matrices.labels, ((),), counts[None], counts, 0)
    _squares(figure, one, [(-0.5, -0.5)], pixels)
    figure.traces[-1]["customdata"] = [(-1, i, j) for i in range(k) for j in range(k)]
    ticks = {"tickvals": list(range(k)), "ticktext": names, "tickangle": 0, "showgrid": False}
    figure.x_axis(
        side="top", title={"text": "answered", "standoff": 14, "font": {"size": 12}}, range=[-0.5, k - 0.5], **ticks
    )
    figure.y_axis(
        title={"text": "label", "standoff": 4, "font": {"size": 12}}, range=[k - 0.5, -0.5], automargin=True, **ticks
    )
    return figure.figure()


def _both(share: float, count: int) -> str:
    return f"{charts.rate_text(share)}<br>{charts.count_text(count)}" if np.isfinite(share) else "none"
