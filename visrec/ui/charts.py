"""Charts: one look for every figure. A chart here is a pure function from a table to a Plotly figure, or to HTML.

Neither this module nor its siblings (``charts_rows``, ``charts_heat``, ``charts_confusion``, ``charts_curves``) knows
Streamlit.
The colours are Okabe and Ito's, told apart by people with any colour vision, and cividis for quantities; each stands
at least 3:1 against a white and against a dark page. Text and background are those of the page's theme, put in by
`themed`, so one figure serves light and dark. Colour never speaks alone: a symbol, a hatch or a word says the same.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import plotly.graph_objects as go
from plotly import colors

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#C98A00"  # Okabe-Ito orange, darkened until it stands 3:1 on white
SKY = "#3B9BD9"  # Okabe-Ito sky blue, darkened likewise
GREY = "#808080"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

FAINT = "rgba(128,128,128,0.22)"
BAND = "rgba(128,128,128,0.34)"
RULE = "rgba(128,128,128,0.65)"
CLEAR = "rgba(0,0,0,0)"

SEQUENTIAL = "Cividis"
# blue - light grey - vermillion: both ends differ in lightness from the middle, and from each other in hue for all
DIVERGING = [[0.0, BLUE], [0.5, "#f1f1f1"], [1.0, VERMILLION]]

SMALL_FONT = 11

FAMILY = '"Source Sans", sans-serif'
"""What Streamlit calls ``sans-serif`` in a theme."""
LOOK = {
    "colorway": list(SERIES),
    "datarevision": 1,
    "font": {"size": 12, "family": FAMILY},
    "hovermode": "closest",
    "hoverlabel": {"align": "left", "font": {"size": 12, "family": FAMILY}},
    "legend": {"font": {"size": 12}},
    "separators": ".,",
}
"""What every chart has that does not say otherwise. ``datarevision`` never changes: see `themed`."""
AXES = {
    "xaxis": {"tickfont": {"size": 12}, "title": {"font": {"size": 14}, "standoff": 20}},
    "yaxis": {"tickfont": {"size": 12}, "title": {"font": {"size": 14}, "standoff": 24}},
}


@dataclass(frozen=True)
class Theme:
    """The colours of a page: of its words, of its ground and of its lines."""

    ink: str
    ground: str
    line: str


THEMES = {"light": Theme("#1D2A2F", "#FFFFFF", "#D8E0E3"), "dark": Theme("#E6EDEF", "#12191C", "#35434A")}
"""``textColor``, ``backgroundColor`` and ``borderColor`` of `.streamlit/config.toml`."""
UNKNOWN_THEME = Theme(GREY, CLEAR, FAINT)
"""Before the browser has said which theme it shows: readable on both."""


def rate_text(value: float, digits: int = 3) -> str:
    """A rate for people: three digits, ``unknown`` where there is none.

    >>> rate_text(0.94117), rate_text(float("nan")), rate_text(-0.00001)
    ('0.941', 'unknown', '0.000')
    """
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def interval_text(low: float, high: float, digits: int = 3) -> str:
    """The interval in brackets, or nothing when an end is unknown.

    >>> interval_text(0.661, 0.81349), interval_text(float("nan"), 1.0)
    ('(0.661–0.813)', '')
    >>> interval_text(-0.05, 0.02)
    '(−0.050 to 0.020)'
    """
    if any(end is None or math.isnan(end) for end in (low, high)):
        return ""
    between = " to " if low < 0 else "–"
    return f"({rate_text(low, digits)}{between}{rate_text(high, digits)})"


def count_text(count: float) -> str:
    """A count with thousands separated.

    >>> count_text(1122.0)
    '1,122'
    """
    return f"{int(count):,}"


def cell_name(values: Iterable[object]) -> str:
    """How a cell is written everywhere: its values in the order of the split.

    >>> cell_name(["Black", "60-69"])
    'Black · 60-69'
    """
    return " · ".join(str(v) for v in values)


class Sheet:
    """A figure while it is drawn: plain traces and axes, made into a Plotly figure at the end.

    Plotly checks every property that is set, and all of them again with the next one: 15 ms a chart, a third of the
    time in which a slicer must answer. Here nothing is checked while drawing; the tests check whole figures.

    Parameters
    ----------
    height : pixels; the width is the page's
    margin : pixels, overriding l, r, t, b
    """

    def __init__(self, height: int, *, margin: dict | None = None) -> None:
        axis = {"zeroline": False, "fixedrange": True, "automargin": False}
        self.traces: list[dict] = []
        self.notes: list[dict] = []
        self.layout = {
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 28, "b": 36, **(margin or {})},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "showlegend": False,
            "dragmode": False,
            "bargap": 0.4,
            "xaxis": {"showgrid": True, "gridcolor": FAINT, **axis},
            "yaxis": {"showgrid": False, **axis},
        }

    def add(self, kind: str, **trace) -> None:
        """Add a trace of a kind of Plotly's (``scatter``, ``bar``, ``heatmap``); data may be lists or arrays."""
        self.traces.append({"type": kind, **{name: _listed(value) for name, value in trace.items()}})

    def write(self, places, texts: Iterable[str], position: str, size: int = 12, **font) -> None:
        """Words at places (x, y) in axis units, as one trace, where `notes` would be an annotation each.

        ``position`` is where they stand from their place, like ``middle center`` or ``top right``.
        """
        xs, ys = zip(*places, strict=True) if len(places) else ((), ())
        self.add(
            "scatter", x=list(xs), y=list(ys), text=list(texts), mode="text", textposition=position,
            textfont={"size": size, **font}, hoverinfo="skip", cliponaxis=False,
        )  # fmt: skip

    def hatch(self, rectangles) -> None:
        """Hatched rectangles (x0, y0, x1, y1) in axis units: how "unknown" is drawn where a heat map has no pattern.

        Filled outlines are one path, however many there are; strokes of a line trace would be a path each.
        """
        xs, ys = _closed(rectangles)
        pattern = {"shape": "/", "fgcolor": RULE, "bgcolor": CLEAR, "size": 7, "solidity": 0.2}
        self.add("scatter", x=xs, y=ys, mode="none", fill="toself", fillpattern=pattern, hoverinfo="skip")

    def frames(self, rectangles, thickness: float) -> None:
        """Thin frames inside rectangles, ``thickness`` in axis units; again one path for all of them."""
        inner = [(x1 - thickness, y0 + thickness, x0 + thickness, y1 - thickness) for x0, y0, x1, y1 in rectangles]
        xs, ys = _closed(part for pair in zip(rectangles, inner, strict=True) for part in pair)
        self.add("scatter", x=xs, y=ys, mode="none", fill="toself", fillcolor=RULE, hoverinfo="skip")

    def x_axis(self, **properties) -> None:
        """Set properties of the x axis."""
        self.layout["xaxis"] |= {name: _listed(value) for name, value in properties.items()}

    def y_axis(self, **properties) -> None:
        """Set properties of the y axis."""
        self.layout["yaxis"] |= {name: _listed(value) for name, value in properties.items()}

    def figure(self) -> "Drawing":
        """The figure, as it stands."""
        layout = {**self.layout, "annotations": self.notes} if self.notes else self.layout
        return Drawing({"data": self.traces, "layout": layout})


class Drawing(go.Figure):
    """A figure that stays plain data, neither checked nor copied on its way to the browser; to be looked at only.

    ``data`` and ``layout`` are there, for whoever asks: a whole Plotly figure is made then.

    Parameters
    ----------
    plain : ``{"data": [...], "layout": {...}}``, not changed any more
    """

    def __init__(self, plain: dict) -> None:  # without Plotly's own, which copies everything three times
        self._plain = plain

    def to_dict(self) -> dict:
        """The plain data itself."""
        return self._plain

    @cached_property
    def _whole(self) -> go.Figure:
        return go.Figure(self._plain, _validate=False)

    @property
    def data(self):
        """The traces."""
        return self._whole.data

    @property
    def layout(self):
        """The layout."""
        return self._whole.layout


def themed(figure: go.Figure, theme: Theme) -> Drawing:
    """The same figure with everything said that Streamlit's theme or a Plotly template would add.

    Streamlit hands each new figure to Plotly twice, the second time as a copy. Plotly draws all of it again if the copy
    brings arrays of data without a ``datarevision``, or a template; without them it sees that nothing has changed,
    and a chart costs one drawing (docs/adr/0065).
    """
    spec = figure.to_dict()
    layout = _beneath(spec["layout"], LOOK) | {"template": None}
    layout["font"] = {**layout["font"], "color": theme.ink}
    hover = layout["hoverlabel"]
    layout["hoverlabel"] = {
        **hover, "bgcolor": theme.ground, "bordercolor": theme.line, "font": {**hover["font"], "color": theme.ink}
    }  # fmt: skip
    for name in [key for key in layout if key.startswith(("xaxis", "yaxis"))]:
        axis = _beneath(layout[name], {**AXES[name[:5]], "tickcolor": theme.line})
        axis["tickfont"] = {**axis["tickfont"], "color": theme.ink}
        axis["title"] = {**axis["title"], "font": {**axis["title"]["font"], "color": theme.ink}}
        layout[name] = axis
    return Drawing({**spec, "layout": layout})


def _beneath(given: dict, defaults: dict) -> dict:
    """What is given, and the defaults where nothing is."""
    merged = {**defaults, **given}
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(given.get(name), dict):
            merged[name] = _beneath(given[name], value)
    return merged


def _closed(rectangles: Iterable[tuple[float, float, float, float]]) -> tuple[list, list]:
    """Outlines of rectangles for one filled trace, separated by None.

    One whose x0 is the larger end runs the other way round, so inside another it is a hole.
    """
    xs: list[float | None] = []
    ys: list[float | None] = []
    for x0, y0, x1, y1 in rectangles:
        xs += [x0, x1, x1, x0, x0, None]
        ys += [y0, y0, y1, y1, y0, None]
    return xs, ys


def _listed(value):
    """Arrays and columns as lists, also one level down (``error_x``, ``textfont``)."""
    if isinstance(value, dict):
        return {name: _listed(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def blank(height: int, *, margin: dict | None = None) -> go.Figure:
    """An empty figure in our look, for charts that are drawn once and need no `Sheet`."""
    return go.Figure(Sheet(height, margin=margin).figure().to_dict())


def words(text: str, *, x: float, y: float, **options) -> dict:
    """Words for `Sheet.notes`: they take the theme's text colour and never catch the mouse."""
    return {"text": text, "x": x, "y": y, "showarrow": False, "captureevents": False, "font": {"size": 12}, **options}


def escape(text: object) -> str:
    """Data never becomes markup: Plotly reads a little HTML in its texts.

    >>> escape("<b>70+</b>")
    '&lt;b&gt;70+&lt;/b&gt;'
    """
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def ink_on(levels: np.ndarray, colorscale: str | list) -> np.ndarray:
    """Black or white for each square of a heat map, whichever reads better on its colour.

    Parameters
    ----------
    levels : float, any shape, 0..1 along the colour scale; NaN gives the theme-neutral grey
    colorscale : a Plotly name or a list of (level, "#rrggbb")

    Returns
    -------
    ndarray of str, same shape
        The better of the two always reaches 4.5:1 (WCAG 2.2, 1.4.3).

    Examples
    --------
    >>> ink_on(np.array([0.0, 1.0, np.nan]), SEQUENTIAL).tolist()
    ['#ffffff', '#000000', '#808080']
    """
    scale = (
        [(a, _rgb(c)) for a, c in colors.get_colorscale(colorscale)]
        if isinstance(colorscale, str)
        else [(a, _rgb(c)) for a, c in colorscale]
    )
    stops = np.array([a for a, _ in scale])
    known = np.nan_to_num(np.clip(levels, 0, 1))
    rgb = np.stack([np.interp(known, stops, [c[i] for _, c in scale]) for i in range(3)], axis=-1) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    # contrast with white is 1.05 / (L + 0.05), with black (L + 0.05) / 0.05: equal at L = 0.179
    return np.where(np.isnan(levels), GREY, np.where(luminance > 0.179, "#000000", "#ffffff"))


def _rgb(colour: str) -> tuple[int, int, int]:
    return colors.hex_to_rgb(colour) if colour.startswith("#") else colors.unlabel_rgb(colour)


def span(lows: Iterable[float], highs: Iterable[float], *, floor: float, ceiling: float, pad: float = 0.06):
    """An axis range that holds all known intervals with some air, within the possible values.

    >>> span([0.5, float("nan")], [0.9], floor=0.0, ceiling=1.0)
    (0.476, 0.924)
    >>> span([], [], floor=0.0, ceiling=1.0)
    (0.0, 1.0)
    """
    known = [v for v in (*lows, *highs) if v is not None and math.isfinite(v)]
    if not known:
        return (max(floor, -1.0), min(ceiling, 1.0))
    low, high = min(known), max(known)
    air = max((high - low) * pad, 0.01)
    return (round(max(floor, low - air), 6), round(min(ceiling, high + air), 6))
