"""Rows: rates and gaps as dots with their intervals, in plain HTML, which a browser draws in a tenth of a chart's time.

Each row writes its name and its numbers *above* its line, so that it reads the same on a telephone as on a wide screen
and no name is ever cut; whoever cannot see it hears it. Unknown is a hatched bar with its count, never a dot. Nothing
here can be zoomed or turned off, so a charting library would only cost time (docs/adr/0071).
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from visrec.ui import charts

SMALL_TOO = "too few images"
VERDICT_LOOK = {
    "supported": (charts.VERMILLION, "full"),
    "cannot tell": (charts.BLUE, "hollow"),
    SMALL_TOO: (charts.GREY, "hollow"),
}
"""Colour and dot of each verdict; the word stands beside them."""

TICKS = 6
"""Numbers along the axis at most."""

STYLE = f"""<style>
.vr {{ position: relative; font-size: 0.8rem; line-height: 1.25; margin: 0 6px; font-variant-numeric: tabular-nums; }}
.vr i {{ position: absolute; box-sizing: border-box; }}
.vr-head, .vr-axis {{ position: relative; height: 1.25rem; }}
.vr-head span, .vr-axis span {{ position: absolute; white-space: nowrap; transform: translateX(-50%); }}
.vr-head .start {{ transform: none; }} .vr-head .end {{ transform: translateX(-100%); }}
.vr-body {{ position: relative; padding-top: 1px; }}
.vr-grid {{ top: 0; bottom: 0; width: 1px; background: {charts.FAINT}; }}
.vr-row {{ position: relative; padding: 0.35rem 0 0.2rem; }}
.vr-words {{ display: flex; flex-wrap: wrap; justify-content: space-between; column-gap: 1rem; }}
.vr-track {{ position: relative; height: 1.2rem; margin-top: 0.1rem; }}
.vr-band {{ top: 15%; height: 70%; background: {charts.BAND}; }}
.vr-mark {{ top: 0; height: 100%; width: 2px; margin-left: -1px; background: {charts.RULE}; }}
.vr-unknown {{ top: 20%; height: 60%; border: 1px solid {charts.RULE};
  background: repeating-linear-gradient(-45deg, {charts.RULE} 0 1px, transparent 1px 6px); }}
.vr-line {{ top: 25%; height: 50%; border-left: 2px solid; border-right: 2px solid;
  background: linear-gradient(currentColor, currentColor) center / 100% 2px no-repeat; }}
.vr-dot {{ top: 50%; width: 11px; height: 11px; margin: -5.5px 0 0 -5.5px; border: 2px solid; border-radius: 50%; }}
.vr-dot.full {{ background: currentColor; }}
.vr-title {{ text-align: center; }}
</style>"""


class Rows(str):
    """Rows as HTML, to be drawn by `visrec.ui.widgets.chart`."""

    __slots__ = ()


@dataclass(frozen=True)
class _Row:
    """One row: what is written, what is told when the mouse rests on it, and what is drawn, back to front."""

    name: str
    numbers: str  # HTML
    told: str
    marks: Sequence[str]


class _Axis:
    """Places along the axis in percent of its width."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        return 100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def point(self, kind: str, value: float, style: str = "") -> str:
        return f'<i class="{kind}" style="left:{self.at(value):.3f}%{style}"></i>'

    def stretch(self, kind: str, start: float, end: float, style: str = "") -> str:
        left, right = self.at(start), self.at(end)
        return f'<i class="{kind}" style="left:{left:.3f}%;width:{right - left:.3f}%{style}"></i>'

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers within the axis, with how they are written.

        >>> [text for _, text in _Axis(0.62, 1.0).ticks()]
        ['0.7', '0.8', '0.9', '1.0']
        >>> [text for _, text in _Axis(-0.02, 0.011).ticks()]
        ['−0.02', '−0.01', '0.00', '0.01']
        """
        rough = (self.high - self.low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999999)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, charts.rate_text(i * step, digits)) for i in range(first, last + 1)]


def cell_dots(table: pd.DataFrame, *, overall: float, reference: str = "all", title: str = "", digits: int = 3) -> Rows:
    """One rate of every cell: dot, interval, count; cells below the minimum count hatched and called unknown.

    Parameters
    ----------
    table : one row per cell, drawn from top to bottom, columns
        ``cell`` (str), ``value``, ``low``, ``high`` (0..1 or NaN), ``n`` (int), ``small`` (bool)
    overall : the same rate over all rows, drawn as a line; NaN leaves it out
    reference : what the line is called
    title : name of the rate, under the axis
    """
    value, low, high = (table[name].to_numpy(float) for name in ("value", "low", "high"))
    unknown = table["small"].to_numpy(bool) | ~np.isfinite(value)
    shown = ~table["small"].to_numpy(bool)
    shown = shown if shown.any() else ~shown
    axis = _Axis(*charts.span([*low[shown], overall], [*high[shown], overall], floor=-0.01, ceiling=1.01))
    rows = [
        _cell_row(axis, *row, digits)
        for row in zip(table["cell"].tolist(), value, low, high, table["n"].tolist(), unknown, strict=True)
    ]
    marks = {float(overall): f"{reference} {charts.rate_text(overall, digits)}"} if np.isfinite(overall) else {}
    return _page(axis, rows, marks, title)


def _cell_row(axis: _Axis, name: str, value, low, high, n: int, unknown: bool, digits: int) -> _Row:
    count = f"n = {charts.count_text(n)}"
    if unknown:
        start, end = (limit if np.isnan(of) else of for of, limit in ((low, axis.low), (high, axis.high)))
        bar = axis.stretch("vr-unknown", start, end)
        return _Row(name, f"unknown, {count}", f"unknown: only {charts.count_text(n)} rows", [bar])
    numbers = f"<b>{charts.rate_text(value, digits)}</b> {charts.interval_text(low, high, digits)} {count}"
    told = f"{value:.6f}, 95 % interval {low:.6f} to {high:.6f}\n{count}"
    return _Row(name, numbers, told, _dot(axis, value, low, high, charts.BLUE, "full"))


def gap_rows(table: pd.DataFrame, *, title: str = "gap", ideal_name: str = "no gap") -> Rows:
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
    axis = _Axis(*_gap_limits(table[list(columns)].to_numpy(float)))
    values = zip(*(table[name].to_numpy(float) for name in columns), strict=True)
    named = zip(table["name"].tolist(), table["verdict"].tolist(), strict=True)
    rows = [_gap_row(axis, *words, *row) for words, row in zip(named, values, strict=True)]
    ideals = table["ideal"].to_numpy(float)
    return _page(axis, rows, {float(x): ideal_name for x in np.unique(ideals[~np.isnan(ideals)])}, title)


def _gap_row(axis: _Axis, name: str, verdict: str, value, low, high, null_low, null_high, ideal) -> _Row:
    marks, told = [], []
    if np.isfinite(null_high):
        foot = ideal if np.isnan(null_low) else null_low
        marks.append(axis.stretch("vr-band", foot, null_high))
        told.append(f"chance alone: {foot:.6f} to {null_high:.6f}")
    if not np.isfinite(value):
        return _Row(name, f"unknown · {verdict}", "\n".join(told), marks)
    low, high = (value if np.isnan(end) else end for end in (low, high))
    colour, dot = VERDICT_LOOK[verdict]
    marks += _dot(axis, value, low, high, colour, dot)
    told.insert(0, f"{value:.6f}, 95 % interval {low:.6f} to {high:.6f}")
    said = f"<b>{verdict}</b>" if verdict == "supported" else verdict
    return _Row(name, f"{charts.rate_text(value)} · {said}", "\n".join(told), marks)


def _gap_limits(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = charts.span(values, [], floor=-np.inf, ceiling=np.inf)
    return (low, high) if len(values) else (-1.0, 1.0)


def _dot(axis: _Axis, value: float, low: float, high: float, colour: str, dot: str) -> list[str]:
    ends = [] if np.isnan(low) or np.isnan(high) else [axis.stretch("vr-line", low, high, f";color:{colour}")]
    return [*ends, axis.point(f"vr-dot {dot}", value, f";color:{colour}")]


def _page(axis: _Axis, rows: Iterable[_Row], marks: Mapping[float, str], title: str) -> Rows:
    """All of it: the names of the lines on top, the rows over the grid, the axis below."""
    ticks = axis.ticks()
    heads = "".join(
        f'<span class="{_lean(axis.at(x))}" style="left:{axis.at(x):.3f}%">{html.escape(name)}</span>'
        for x, name in marks.items()
    )
    grid = "".join(axis.point("vr-grid", x) for x, _ in ticks)
    lines = "".join(axis.point("vr-mark", x) for x in marks)
    body = "".join(_row(row, lines) for row in rows)
    numbers = "".join(f'<span style="left:{axis.at(x):.3f}%">{text}</span>' for x, text in ticks)
    return Rows(
        f'{STYLE}<div class="vr"><div class="vr-head">{heads}</div>'
        f'<div class="vr-body" role="list">{grid}{body}</div>'
        f'<div class="vr-axis">{numbers}</div><div class="vr-title">{html.escape(title)}</div></div>'
    )


def _row(row: _Row, lines: str) -> str:
    name, told = html.escape(row.name), html.escape(f"{row.name}\n{row.told}".strip())
    words = f'<div class="vr-words"><span>{name}</span><span>{row.numbers}</span></div>'
    track = f'<div class="vr-track">{lines}{"".join(row.marks)}</div>'
    return f'<div class="vr-row" role="listitem" title="{told}">{words}{track}</div>'


def _lean(place: float) -> str:
    """Where the name of a line stands, so that it ends within the chart."""
    return "start" if place < 100 / 3 else "end" if place > 200 / 3 else "middle"
