"""Charts of rates and gaps: dots with their intervals, bands of what chance alone would show, verdicts in words.

Each row writes its name at the left and its numbers at the right, *above* its line, so that a chart reads the same
on a telephone as on a wide screen and no name is ever cut. Unknown is a hatched bar with its count, never a dot.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from visrec.ui import charts

ROW = 44
"""Pixels of one row: a line of text above its interval."""

LINE = 0.14
"""How far below its row's middle an interval lies, in rows; the words stand above."""

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
    table = table.reset_index(drop=True)
    known = table[~table["small"].astype(bool)]
    frame = known if len(known) else table
    low, high = charts.span([*frame["low"], overall], [*frame["high"], overall], floor=-0.01, ceiling=1.01)
    tall = bool((table["cell"].str.len() > LONG).any())
    figure = _rows(len(table), (low, high), title, ROW + 14 * tall)
    _hatched_bars(figure, table, low, high)
    _intervals(figure, table)
    notes = []
    for i, row in enumerate(table.to_dict("records")):
        notes += _row_text(i, row["cell"], _numbers(row, digits), two_lines=tall)
    if np.isfinite(overall):
        notes.append(_reference(figure, overall, f"{reference} {charts.rate_text(overall, digits)}", len(table)))
    figure.notes += notes
    return figure.figure()


def _numbers(row: dict, digits: int) -> str:
    count = f"n = {charts.count_text(row['n'])}"
    if row["small"] or not np.isfinite(row["value"]):
        return f"unknown, {count}"
    interval = charts.interval_text(row["low"], row["high"], digits)
    return f"<b>{charts.rate_text(row['value'], digits)}</b> {interval} {count}"


def _rows(count: int, limits: tuple[float, float], title: str, height: int = ROW) -> charts.Sheet:
    figure = charts.Sheet(max(count, 1) * height + 72, margin={"l": 6, "r": 6, "t": 26, "b": 46})
    figure.x_axis(
        range=limits, title={"text": title, "font": {"size": 12}, "standoff": 8}, nticks=6, tickfont={"size": 12}
    )
    figure.y_axis(range=[count - 0.45, -0.65], visible=False)
    return figure


def _row_text(row: int, left: str, right: str, *, two_lines: bool = False) -> list[dict]:
    place = {"xref": "paper", "y": row - 0.14, "yanchor": "bottom"}
    end, anchor = (0, "left") if two_lines else (1, "right")
    return [
        charts.words(charts.escape(left), x=0, xanchor="left", yshift=15 * two_lines, **place),
        charts.words(right, x=end, xanchor=anchor, **place),
    ]


def _hatched_bars(figure: charts.Sheet, table: pd.DataFrame, floor: float, ceiling: float) -> None:
    unknown = table[table["small"].astype(bool) | ~np.isfinite(table["value"].astype(float))]
    if unknown.empty:
        return
    low = unknown["low"].astype(float).fillna(floor).clip(floor, ceiling)
    high = unknown["high"].astype(float).fillna(ceiling).clip(floor, ceiling)
    figure.add(
        "bar",
        orientation="h",
        x=high - low,
        base=low,
        y=unknown.index,
        width=0.24,
        offset=0.02,
        marker={
            "color": charts.CLEAR,
            "line": {"color": charts.RULE, "width": 1},
            "pattern": {"shape": "/", "fgcolor": charts.GREY, "size": 6, "solidity": 0.25},
        },
        customdata=np.stack([unknown["cell"].map(charts.escape), unknown["n"]], axis=1),
        hovertemplate="%{customdata[0]}<br>unknown: only %{customdata[1]:,} rows<extra></extra>",
        name="unknown",
    )


def _intervals(figure: charts.Sheet, table: pd.DataFrame) -> None:
    known = table[~table["small"].astype(bool) & np.isfinite(table["value"].astype(float))]
    figure.add(
        "scatter",
        x=known["value"],
        y=known.index + LINE,
        mode="markers",
        marker={"color": charts.BLUE, "size": 9},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": known["high"] - known["value"],
            "arrayminus": known["value"] - known["low"],
            "color": charts.BLUE,
            "thickness": 2,
            "width": 4,
        },
        customdata=np.stack([known["cell"].map(charts.escape), known["low"], known["high"], known["n"]], axis=1)
        if len(known)
        else None,
        hovertemplate=(
            "%{customdata[0]}<br>%{x:.6f}, 95 %% interval %{customdata[1]:.6f} to %{customdata[2]:.6f}"
            "<br>n = %{customdata[3]:,}<extra></extra>"
        ).replace("%%", "%"),
        name="rate and 95 % interval",
    )


def _reference(figure: charts.Sheet, value: float, text: str, rows: int) -> dict:
    """Draw a vertical line; gives back its name, to be written on top."""
    ys = [y for row in range(rows) for y in (row - 0.06, row + 0.34, None)]  # broken, so that it crosses no words
    figure.add(
        "scatter",
        x=[value if y is not None else None for y in ys],
        y=ys,
        mode="lines",
        line={"color": charts.RULE, "width": 1.5},
        hoverinfo="skip",
    )
    return charts.words(text, x=value, y=1, yref="paper", yanchor="bottom", font={"size": charts.SMALL_FONT})


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
    table = table.reset_index(drop=True)
    limits = _gap_limits(table)
    figure = _rows(len(table), limits, title)
    band = table[np.isfinite(table["null_high"].astype(float))]
    low = band["null_low"].astype(float).fillna(band["ideal"]).clip(*limits)
    figure.add(
        "bar",
        orientation="h",
        base=low,
        x=band["null_high"].clip(*limits) - low,
        y=band.index,
        width=0.34,
        offset=-0.03,
        marker={"color": charts.BAND, "line": {"width": 0}},
        customdata=np.stack([low, band["null_high"]], axis=1) if len(band) else None,
        hovertemplate="chance alone: %{customdata[0]:.6f} to %{customdata[1]:.6f}<extra></extra>",
        name="chance alone",
    )
    for verdict, (colour, symbol) in VERDICT_LOOK.items():
        _gap_dots(figure, table[table["verdict"] == verdict], verdict, colour, symbol)
    notes = []
    for i, row in enumerate(table.to_dict("records")):
        notes += _row_text(i, row["name"], _gap_words(row))
    for ideal in sorted(set(table["ideal"].dropna())):
        notes.append(_reference(figure, ideal, ideal_name, len(table)))
    figure.notes += notes
    return figure.figure()


def _gap_limits(table: pd.DataFrame) -> tuple[float, float]:
    ends = ["value", "low", "high", "null_low", "null_high", "ideal"]
    values = table[ends].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    low, high = charts.span(values, [], floor=-np.inf, ceiling=np.inf)
    return (low, high) if len(values) else (-1.0, 1.0)


def _gap_words(row: dict) -> str:
    if not np.isfinite(row["value"]):
        return f"unknown · {row['verdict']}"
    strong = f"<b>{row['verdict']}</b>" if row["verdict"] == "supported" else row["verdict"]
    return f"{charts.rate_text(row['value'])} · {strong}"


def _gap_dots(figure: charts.Sheet, rows: pd.DataFrame, verdict: str, colour: str, symbol: str) -> None:
    rows = rows[np.isfinite(rows["value"].astype(float))]
    if rows.empty:
        return
    low, high = rows["low"].astype(float).fillna(rows["value"]), rows["high"].astype(float).fillna(rows["value"])
    figure.add(
        "scatter",
        x=rows["value"],
        y=rows.index + LINE,
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10, "line": {"color": colour, "width": 2}},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": high - rows["value"],
            "arrayminus": rows["value"] - low,
            "color": colour,
            "thickness": 2,
            "width": 4,
        },
        customdata=np.stack([rows["name"].map(charts.escape), low, high], axis=1),
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
    xs, ys = charts.hatch_segments(unknown, step=0.1, slope=4.0)
    figure.add("scatter", x=xs, y=ys, mode="lines", line={"color": charts.RULE, "width": 1}, hoverinfo="skip")
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
