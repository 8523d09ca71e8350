"""Charts of rates and gaps: dots with their intervals, bands of what chance alone would show, verdicts in words.

Each row writes its name at the left and its numbers at the right, *above* its line, so that a chart reads the same
on a telephone as on a wide screen and no name is ever cut. Unknown is a hatched bar with its count, never a dot.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from visrec.ui import charts

LINES, TALL = 3, 4
"""Lines of text in the height of a row: its words, and room for its interval; ``TALL`` with two lines of words."""

TOP, BOTTOM = -0.65, -0.45
"""Where the first row's room begins, and the last one's ends, in rows from the one's and from the next one's middle."""

BELOW, ABOVE = 0.14, 0.14
"""How far below its row's middle an interval lies, in rows, and how far above it the words stand."""

SMALL_TOO = "too few images"
LONG = 31
"""Letters of a name beside which the numbers no longer fit on a telephone; then they take a line of their own."""

VERDICT_LOOK = {
    "supported": (charts.VERMILLION, "circle"),
    "cannot tell": (charts.BLUE, "circle-open"),
    SMALL_TOO: (charts.GREY, "x-thin"),
}
"""Colour and symbol of each verdict; the word stands beside them."""


def cell_dots(
    table: pd.DataFrame, *, overall: float, reference: str = "all", title: str = "", digits: int = 3
) -> go.Figure:
    """One rate of every cell: dot, interval, count; cells below the minimum count hatched and called unknown.

    Parameters
    ----------
    table : one row per cell, drawn from top to bottom, columns
        ``cell`` (str), ``value``, ``low``, ``high`` (0..1 or NaN), ``n`` (int), ``small`` (bool)
    overall : the same rate over all rows, drawn as a line; NaN leaves it out
    reference : what the line is called
    title : name of the rate, under the axis
    """
    cells = table["cell"].tolist()
    value, low, high = (table[name].to_numpy(float) for name in ("value", "low", "high"))
    n, unknown = table["n"].to_numpy(), table["small"].to_numpy(bool) | ~np.isfinite(value)
    shown = ~table["small"].to_numpy(bool)
    shown = shown if shown.any() else ~shown
    limits = charts.span([*low[shown], overall], [*high[shown], overall], floor=-0.01, ceiling=1.01)
    tall = any(len(name) > LONG for name in cells)
    names = [charts.escape(name) for name in cells]
    figure = _rows(len(table), limits, title, TALL if tall else LINES)
    _hatched_bars(figure, np.flatnonzero(unknown), names, (low, high), n, limits)
    _intervals(figure, np.flatnonzero(~unknown), names, (value, low, high), n)
    numbers = [_numbers(*row, digits) for row in zip(value, low, high, n, unknown, strict=True)]
    marks = {float(overall): f"{reference} {charts.rate_text(overall, digits)}"} if np.isfinite(overall) else {}
    _words(figure, names, numbers, limits, marks, two_lines=tall)
    return figure.figure()


def _numbers(value: float, low: float, high: float, n: int, unknown: bool, digits: int) -> str:
    count = f"n = {charts.count_text(n)}"
    if unknown:
        return f"unknown, {count}"
    return f"<b>{charts.rate_text(value, digits)}</b> {charts.interval_text(low, high, digits)} {count}"


def _rows(count: int, limits: tuple[float, float], title: str, lines: int = LINES) -> charts.Sheet:
    row = lines * charts.LINE_HEIGHT
    room = max(count, 1) + BOTTOM - TOP
    figure = charts.Sheet(round(room * row) + 72, margin={"l": 6, "r": 6, "t": 26, "b": 46})
    figure.x_axis(
        range=limits, title={"text": title, "font": {"size": 12}, "standoff": 8}, nticks=6, tickfont={"size": 12}
    )
    figure.y_axis(range=[max(count, 1) + BOTTOM, TOP], visible=False)
    return figure


def _words(
    figure: charts.Sheet,
    left: Sequence[str],
    right: Sequence[str],
    limits,
    marks: Mapping[float, str],
    *,
    two_lines=False,
) -> None:
    """Each row's name and numbers above its interval, at both ends; and vertical lines, each with its name on top.

    Each column is one text of many lines, as high as the rows are: a text of its own for each word would take a third
    more of the browser's time (docs/adr/0071). ``two_lines`` puts the numbers below the names.
    """
    start, end = limits
    last = len(left) - 1 - ABOVE
    if two_lines:
        rows = [f"{name}<br>{numbers}" for name, numbers in zip(left, right, strict=True)]
        columns = [(start, last, _column(rows, TALL - 1), "top right")]
    else:
        columns = [(start, last, _column(left, LINES), "top right"), (end, last, _column(right, LINES), "top left")]
    columns = columns if len(left) else []
    columns += [(x, TOP, name, _beside(x, limits)) for x, name in marks.items()]
    x, y, texts, positions = zip(*columns, strict=True) if columns else ((), (), (), ())
    figure.write(list(zip(x, y, strict=True)), texts, positions)
    for x in marks:
        figure.line([(x, row - 0.06, x, row + 0.34) for row in range(len(left))])  # broken: it crosses no words


def _column(rows: Sequence[str], lines: int) -> str:
    """Rows of words as one text, the first lines of two neighbours ``lines`` apart."""
    return ("<br> " * (lines - 1) + "<br>").join(rows)


def _beside(x: float, limits: tuple[float, float]) -> str:
    """Where the name of a line stands, so that it ends within the chart."""
    share = (x - limits[0]) / (limits[1] - limits[0])
    return "top right" if share < 1 / 3 else "top left" if share > 2 / 3 else "top center"


def _hatched_bars(figure: charts.Sheet, rows: np.ndarray, names: Sequence[str], ends, n: np.ndarray, limits) -> None:
    if not len(rows):
        return
    low, high = (np.where(np.isnan(end[rows]), limit, end[rows]) for end, limit in zip(ends, limits, strict=True))
    low, high = low.clip(*limits), high.clip(*limits)
    figure.add(
        "bar",
        orientation="h",
        x=high - low,
        base=low,
        y=rows,
        width=0.24,
        offset=0.02,
        marker={
            "color": charts.CLEAR,
            "line": {"color": charts.RULE, "width": 1},
            "pattern": {"shape": "/", "fgcolor": charts.GREY, "size": 6, "solidity": 0.25},
        },
        customdata=[[names[i], int(n[i])] for i in rows],
        hovertemplate="%{customdata[0]}<br>unknown: only %{customdata[1]:,} rows<extra></extra>",
        name="unknown",
    )


def _intervals(figure: charts.Sheet, rows: np.ndarray, names: Sequence[str], values, n: np.ndarray) -> None:
    value, low, high = (part[rows] for part in values)
    figure.add(
        "scatter",
        x=value,
        y=rows + BELOW,
        mode="markers",
        marker={"color": charts.BLUE, "size": 9},
        error_x=_error_bars(value, low, high, charts.BLUE),
        customdata=[[names[i], *ends, int(n[i])] for i, *ends in zip(rows, low.tolist(), high.tolist(), strict=True)],
        hovertemplate=(
            "%{customdata[0]}<br>%{x:.6f}, 95 %% interval %{customdata[1]:.6f} to %{customdata[2]:.6f}"
            "<br>n = %{customdata[3]:,}<extra></extra>"
        ).replace("%%", "%"),
        name="rate and 95 % interval",
    )


def _error_bars(value: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> dict:
    return {
        "type": "data", "symmetric": False, "array": high - value, "arrayminus": value - low, "color": colour,
        "thickness": 2, "width": 4,
    }  # fmt: skip


def gap_rows(table: pd.DataFrame, *, title: str = "gap", ideal_name: str = "no gap") -> go.Figure:
    """One row per gap: what chance alone would show in grey, the gap with its interval, its verdict in words.

    Parameters
    ----------
    table : columns ``name`` (str), ``value``, ``low``, ``high``, ``null_low``, ``null_high`` (same unit; NaN where
        unknown), ``ideal`` (number), ``verdict`` (``supported``, ``cannot tell``, ``too few images``)
        and optional ``null_mean``
    title : unit of the axis
    ideal_name : what the line at the ideal value is called
    """
    columns = ("value", "low", "high", "null_low", "null_high", "ideal")
    value, low, high, null_low, null_high, ideal = (table[name].to_numpy(float) for name in columns)
    names, verdicts = [charts.escape(name) for name in table["name"]], table["verdict"].tolist()
    limits = _gap_limits(table[list(columns)].to_numpy(float))
    figure = _rows(len(table), limits, title)
    band = np.flatnonzero(np.isfinite(null_high))
    foot = np.where(np.isnan(null_low), ideal, null_low)[band].clip(*limits)
    figure.add(
        "bar",
        orientation="h",
        base=foot,
        x=null_high[band].clip(*limits) - foot,
        y=band,
        width=0.34,
        offset=-0.03,
        marker={"color": charts.BAND, "line": {"width": 0}},
        customdata=np.stack([foot, null_high[band]], axis=1),
        hovertemplate="chance alone: %{customdata[0]:.6f} to %{customdata[1]:.6f}<extra></extra>",
        name="chance alone",
    )
    ends = np.where(np.isnan(low), value, low), np.where(np.isnan(high), value, high)
    for verdict in VERDICT_LOOK:
        rows = np.flatnonzero(np.isfinite(value) & (np.array(verdicts, dtype=object) == verdict))
        _gap_dots(figure, rows, names, (value, *ends), verdict)
    words = [_gap_words(*row) for row in zip(value, verdicts, strict=True)]
    _words(figure, names, words, limits, {float(x): ideal_name for x in np.unique(ideal[~np.isnan(ideal)])})
    return figure.figure()


def _gap_limits(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = charts.span(values, [], floor=-np.inf, ceiling=np.inf)
    return (low, high) if len(values) else (-1.0, 1.0)


def _gap_words(value: float, verdict: str) -> str:
    if not np.isfinite(value):
        return f"unknown · {verdict}"
    return f"{charts.rate_text(value)} · {f'<b>{verdict}</b>' if verdict == 'supported' else verdict}"


def _gap_dots(figure: charts.Sheet, rows: np.ndarray, names: Sequence[str], values, verdict: str) -> None:
    if not len(rows):
        return
    colour, symbol = VERDICT_LOOK[verdict]
    value, low, high = (part[rows] for part in values)
    figure.add(
        "scatter",
        x=value,
        y=rows + BELOW,
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10, "line": {"color": colour, "width": 2}},
        error_x=_error_bars(value, low, high, colour),
        customdata=[[names[i], *ends] for i, *ends in zip(rows, low.tolist(), high.tolist(), strict=True)],
        hovertemplate="%{customdata[0]}<br>%{x:.6f}, 95 % interval %{customdata[1]:.6f} to %{customdata[2]:.6f}"
        f"<br>{verdict}<extra></extra>",
        name=verdict,
    )


def heat_table(
    values: pd.DataFrame, *, counts: pd.DataFrame | None = None, small: pd.DataFrame | None = None
) -> go.Figure:
    """Groups by metrics, each square with its number; unknown squares hatched.

    Each column is coloured by its own ideal-free spread (cividis from the column's lowest to its highest known value),
    so that the eye compares groups within a metric, never one metric with another.

    Parameters
    ----------
    values : index = groups, columns = metrics, NaN = unknown
    counts : same shape, the count under each value, for the hover
    small : same shape, bool: below the minimum count
    """
    known = values.astype(float).where(~small) if small is not None else values.astype(float)
    low, high = known.min(), known.max()
    level = (known - low) / (high - low).replace(0, np.nan)
    level = level.where(level.notna() | known.isna(), 0.5).to_numpy(float)
    rows, columns = level.shape
    lines = max((str(name).count(" ") + 1 for name in values.columns), default=1)
    top = 20 + 16 * lines
    figure = charts.Sheet(rows * 30 + top + 12, margin={"t": top, "b": 10, "l": 8, "r": 8})
    numbers = (counts if counts is not None else values * np.nan).to_numpy(float)
    figure.add(
        "heatmap",
        z=level,
        customdata=np.dstack([values.to_numpy(float), numbers]),
        hovertext=_heat_words(values),
        hovertemplate="%{hovertext}: %{customdata[0]:.6f}<br>n = %{customdata[1]:,}<extra></extra>",
        colorscale=charts.SEQUENTIAL,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
    )
    unknown = [(j - 0.49, i - 0.46, j + 0.49, i + 0.46) for i, j in zip(*np.nonzero(np.isnan(level)), strict=True)]
    figure.hatch(unknown)
    words = known.map(charts.rate_text).where(known.notna(), "").to_numpy().ravel()
    figure.add(
        "scatter",
        x=np.tile(np.arange(columns), rows),
        y=np.repeat(np.arange(rows), columns),
        text=words,
        mode="text",
        textfont={"size": 12, "color": charts.ink_on(level.ravel(), charts.SEQUENTIAL)},
        hoverinfo="skip",
    )
    figure.x_axis(
        side="top",
        showgrid=False,
        range=[-0.5, columns - 0.5],
        tickvals=list(range(columns)),
        ticktext=[charts.escape(m).replace(" ", "<br>") for m in values.columns],
        tickangle=0,
    )
    figure.y_axis(
        range=[rows - 0.5, -0.5],
        tickvals=list(range(rows)),
        ticktext=[charts.escape(g) for g in values.index],
        automargin=True,
    )
    return figure.figure()


def _heat_words(values: pd.DataFrame) -> list[list[str]]:
    return [
        [f"{charts.escape(group)}<br>{charts.escape(metric)}" for metric in values.columns] for group in values.index
    ]
