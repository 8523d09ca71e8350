"""The overlay: superpixel weights painted over the image, which stays visible underneath.

Two ways: ``outline`` tints and outlines the heaviest superpixels (blue supports, orange opposes; an opposing outline
is also dashed, so that nothing hangs on colour alone), ``heat`` shades them on a scale that is symmetric about 0.
Nothing is recomputed: an overlay is drawn from a finished explanation.
"""

import numpy as np

from visrec.errors import InputError, nearest
from visrec.explain.lime_image import Explanation, ranking

SUPPORTS = (0, 114, 178)
"""Blue of Okabe and Ito's palette (https://jfly.uni-koeln.de/color/)."""
OPPOSES = (230, 159, 0)
"""Orange of the same palette: the two stay apart in every common kind of colour blindness, and in grey print."""
SUPPORTS_LINE = (86, 180, 233)
"""The palette's sky blue: a line of the darker blue would drown in shadow."""
SHOW = ("both", "supports", "opposes")
STYLES = ("outline", "heat")
TINT_LIMIT = 0.75
"""At full opacity a quarter of the image still shines through, and its light and dark do altogether."""


def render_overlay(
    image: np.ndarray,
    explanation: Explanation,
    label: int | None = None,
    *,
    top: int = 10,
    opacity: float = 0.5,
    show: str = "both",
    style: str = "outline",
) -> np.ndarray:
    """Paint an explanation over its image.

    Parameters
    ----------
    image : uint8 (H, W, 3); may be larger than the superpixel map, which is then stretched over it
    explanation : what `visrec.explain.lime_image.explain_image` returned
    label : class; None = the class the explanation is about
    top : number of superpixels to paint, heaviest first among those that ``show`` admits; 0 leaves the image alone,
        as does an explanation that `unmoved` finds to be nothing
    opacity : 0 (outlines only) to 1
    show : ``both``, ``supports`` or ``opposes``
    style : ``outline`` or ``heat``

    Returns
    -------
    uint8 (H, W, 3)

    Raises
    ------
    InputError
        For a class or an option that does not exist.
    """
    _check_options(show, style, opacity)
    weights = label_weights(explanation, label)
    segments = stretch(explanation.segments, image.shape[:2])
    painted = chosen(weights, 0 if unmoved(explanation, label) else top, show)
    scale = np.abs(weights).max() or 1.0
    strength = np.zeros(len(weights))
    strength[painted] = np.abs(weights[painted]) / scale if style == "heat" else 1.0
    colours = np.where(weights[:, None] > 0, SUPPORTS, OPPOSES).astype(np.float32)
    out = tint(image, colours[segments], (opacity * strength).astype(np.float32)[segments])
    return draw_outlines(out, segments, weights, painted) if style == "outline" else out


def render_map(
    image: np.ndarray, values: np.ndarray, *, opacity: float = 0.5, scale: float | None = None
) -> np.ndarray:
    """Shade a pixel map (a second opinion, a mean map) over an image, as the heat style does.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    values : float (h, w); NaN is left unpainted
    scale : value at full strength; None = the 99th percentile of the absolute values, so that one pixel cannot
        make the rest invisible

    Returns
    -------
    uint8 (h, w, 3)
    """
    known = np.nan_to_num(values)
    scale = scale or float(np.quantile(np.abs(known), 0.99)) or float(np.abs(known).max()) or 1.0
    colours = np.where(known[..., None] > 0, SUPPORTS, OPPOSES).astype(np.float32)
    return tint(image, colours, (opacity * np.clip(np.abs(known) / scale, 0, 1)).astype(np.float32))


def label_weights(explanation: Explanation, label: int | None) -> np.ndarray:
    """The weights of one class: float64 (n,)."""
    label = explanation.label if label is None else label
    if label not in explanation.labels:
        raise InputError(f"Class number {label} is not explained, expected 0 to {len(explanation.labels) - 1}.")
    return explanation.weights[label]


def unmoved(explanation: Explanation, label: int | None = None) -> bool:
    """Whether the answer never changed, whatever was hidden: the weights are rounding then, and nothing is painted."""
    return bool(np.isnan(explanation.r2[explanation.label if label is None else label]))


def chosen(weights: np.ndarray, top: int, show: str = "both") -> np.ndarray:
    """The superpixels to paint: the ``top`` heaviest of the wanted sign, int (at most top,).

    A weight of exactly 0 neither supports nor opposes, and is never painted.

    >>> chosen(np.array([0.3, -0.5, 0.0, 0.1]), 2, "supports").tolist()
    [0, 3]
    """
    sign = {"both": weights != 0, "supports": weights > 0, "opposes": weights < 0}[show]
    order = ranking(weights)
    return order[sign[order]][: max(0, top)]


def tint(image: np.ndarray, colours: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Blend towards a colour but keep light and dark, so that what lies underneath stays readable.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    colours : float32 (h, w, 3) in 0 ... 255
    strength : float32 (h, w) in [0, 1]; 0 leaves the pixel exactly as it is
    """
    pixels = image.astype(np.float32)
    light = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    shaded = colours * (0.6 + 0.55 * light / 255)[..., None]
    blend = (TINT_LIMIT * strength)[..., None]
    return np.clip(np.rint(pixels + blend * (shaded - pixels)), 0, 255).astype(np.uint8)


def draw_outlines(image: np.ndarray, segments: np.ndarray, weights: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Bright lines along the inner edge of painted areas, with a dark rim outside so that they show on any ground."""
    sign = np.zeros(len(weights), np.int8)
    sign[painted] = np.sign(weights[painted])
    side = sign[segments]
    width = max(1, round(min(side.shape) / 224))
    edge = edges(side, width)
    rows, columns = np.indices(side.shape, sparse=True)
    dash = ((rows + columns) // (3 * width)) % 2 == 0
    out = image.copy()
    rim = edge & (side == 0) & edges(side != 0, width, border=False)
    out[rim] = out[rim] // 2
    out[edge & (side > 0)] = SUPPORTS_LINE
    out[edge & (side < 0) & dash] = OPPOSES
    out[edge & (side < 0) & ~dash] = (32, 32, 32)
    return out


def edges(regions: np.ndarray, width: int = 1, border: bool = True) -> np.ndarray:
    """Pixels within ``width`` of another region or, unless told otherwise, of the image's border: bool (h, w).

    >>> edges(np.array([[1, 1, 1, 0]] * 4))[1].tolist()
    [True, False, True, True]
    """
    edge = np.zeros(regions.shape, bool)
    for step in range(1, width + 1):
        vertical = regions[step:] != regions[:-step]
        horizontal = regions[:, step:] != regions[:, :-step]
        edge[step:] |= vertical
        edge[:-step] |= vertical
        edge[:, step:] |= horizontal
        edge[:, :-step] |= horizontal
    if border:
        edge[:width] = edge[-width:] = True
        edge[:, :width] = edge[:, -width:] = True
    return edge


def stretch(segments: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The superpixel map at another size, nearest neighbour: int (H, W).

    >>> stretch(np.array([[0, 1]]), (2, 4)).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    if segments.shape == tuple(shape):
        return segments
    rows = (np.arange(shape[0]) * segments.shape[0]) // shape[0]
    columns = (np.arange(shape[1]) * segments.shape[1]) // shape[1]
    return segments[rows[:, None], columns]


def heat_scale(explanation: Explanation, label: int | None = None) -> float:
    """The weight at the ends of the heat scale, in units of probability: it runs from -x (opposes) to +x (supports)."""
    return float(np.abs(label_weights(explanation, label)).max())


def render_scale(width: int = 256, height: int = 16, opacity: float = 1.0) -> np.ndarray:
    """The colours of the heat style on mid grey from -`heat_scale` (left) over 0 to +`heat_scale` (right).

    Returns
    -------
    uint8 (height, width, 3)
    """
    value = np.broadcast_to(np.linspace(-1, 1, width, dtype=np.float32), (height, width))
    grey = np.full((height, width, 3), 128, np.uint8)
    colours = np.where(value[..., None] > 0, SUPPORTS, OPPOSES).astype(np.float32)
    return tint(grey, colours, np.float32(opacity) * np.abs(value))


def _check_options(show: str, style: str, opacity: float) -> None:
    if show not in SHOW:
        raise InputError(f"show='{show}' is unknown. {nearest(show, SHOW)}")
    if style not in STYLES:
        raise InputError(f"style='{style}' is unknown. {nearest(style, STYLES)}")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity={opacity}, expected a number from 0 to 1.")
