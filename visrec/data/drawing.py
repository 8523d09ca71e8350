"""Drawings for the demo buckets: avatars that smile or do not, and things from a kitchen shelf.

Every drawing is a function of a random generator alone. What a person is said to be (race, age, gender) is not an
argument of anything here, so nothing of it can be seen in a drawing.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

SCALE = 2  # drawn at twice the size, then reduced: smooth edges
SKINS = ((255, 224, 196), (241, 194, 150), (224, 172, 125), (198, 134, 92), (158, 100, 64), (115, 72, 48), (84, 52, 36))
HAIRS = ((32, 26, 24), (72, 46, 30), (122, 78, 44), (190, 142, 72), (168, 66, 38), (150, 150, 156), (222, 222, 226))
CLOTHES = ((52, 92, 150), (186, 74, 66), (64, 132, 104), (222, 170, 60), (112, 84, 150), (60, 66, 78), (214, 120, 150))
GROUNDS = ((214, 228, 240), (240, 226, 208), (220, 236, 220), (236, 220, 232), (228, 228, 234), (250, 238, 200))
KITCHEN = ("mug", "bowl", "plate", "glass")
WOODS = ((222, 196, 160), (196, 160, 120), (236, 224, 206), (170, 140, 112), (206, 210, 214))
GLAZES = (
    (206, 88, 70),
    (70, 110, 160),
    (92, 148, 120),
    (240, 236, 226),
    (228, 176, 76),
    (90, 92, 104),
    (206, 150, 170),
)


class Pen:
    """Draws in units of the picture's side, so that a drawing reads the same at any size."""

    def __init__(self, size: int, ground: tuple[int, int, int]):
        self.side = size * SCALE
        self.image = Image.new("RGB", (self.side, self.side), ground)
        self.draw = ImageDraw.Draw(self.image)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill) -> None:
        """A filled ellipse around (x, y)."""
        self.draw.ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill, radius: float = 0.0) -> None:
        """A filled box with round corners."""
        self.draw.rounded_rectangle(self._box(x0, y0, x1, y1), radius=radius * self.side, fill=fill)

    def polygon(self, points, fill) -> None:
        """A filled polygon."""
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=fill)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill, width: float) -> None:
        """Part of an ellipse's outline, angles in degrees, clockwise from the right."""
        self.draw.arc(self._box(x - rx, y - ry, x + rx, y + ry), start, end, fill=fill, width=self.px(width))

    def chord(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill) -> None:
        """A filled slice of an ellipse between two angles."""
        self.draw.chord(self._box(x - rx, y - ry, x + rx, y + ry), start, end, fill=fill)

    def line(self, points, fill, width: float) -> None:
        """A line through points, with round joints."""
        self.draw.line(
            [(x * self.side, y * self.side) for x, y in points], fill=fill, width=self.px(width), joint="curve"
        )

    def px(self, width: float) -> int:
        """A width in pixels, at least one."""
        return max(1, round(width * self.side))

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return tuple(v * self.side for v in (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))


def avatar(rng: np.random.Generator, smiling: bool, size: int = 128) -> Image.Image:
    """A drawn head and shoulders, RGB, ``size`` x ``size``."""
    skin, hair, clothes, ground = (_pick(rng, table) for table in (SKINS, HAIRS, CLOTHES, GROUNDS))
    pen = Pen(size, ground)
    x, y, s = 0.5 + rng.normal(0, 0.02), 0.53 + rng.normal(0, 0.015), rng.uniform(1.4, 1.6)
    style = rng.integers(6)
    _backdrop(pen, rng, ground)
    if style in (1, 2):
        _long_hair(pen, x, y, s, hair, straight=style == 1)
    _shoulders(pen, rng, x, y, s, skin, clothes)
    _head(pen, x, y, s, skin)
    _hair(pen, rng, x, y, s, hair, style)
    _eyes(pen, rng, x, y, s, hair, smiling)
    _nose(pen, x, y, s, skin)
    _mouth(pen, rng, x, y, s, skin, smiling)
    _extras(pen, rng, x, y, s, hair)
    turned = pen.image.rotate(rng.normal(0, 4), Image.Resampling.BILINEAR, fillcolor=ground)
    return turned.resize((size, size), Image.Resampling.LANCZOS)


def kitchenware(rng: np.random.Generator, kind: str, width: int = 160, height: int = 120) -> Image.Image:
    """A drawn mug, bowl, plate or glass on a table, RGB, ``width`` x ``height``."""
    table, wall, glaze = _pick(rng, WOODS), _pick(rng, GROUNDS), _pick(rng, GLAZES)
    pen = Pen(width, wall)
    edge = rng.uniform(0.36, 0.46)
    pen.box(0, edge, 1, 1, table)
    for _ in range(rng.integers(2, 5)):
        grain = edge + rng.uniform(0.03, 0.35)
        pen.line([(0, grain), (1, grain + rng.normal(0, 0.01))], _tone(table, -10), 0.004)
    x, y, s = rng.uniform(0.36, 0.64), edge + rng.uniform(0.06, 0.16), rng.uniform(0.75, 1.15)
    KITCHEN_DRAWERS[kind](pen, rng, x, y, s, glaze)
    top = round(pen.side * (1 - height / width) * 0.35)
    image = pen.image.crop((0, top, pen.side, top + round(pen.side * height / width)))
    image = image.rotate(rng.normal(0, 2), Image.Resampling.BILINEAR, fillcolor=wall)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _pick(rng: np.random.Generator, table) -> tuple[int, int, int]:
    return _tone(table[rng.integers(len(table))], *rng.integers(-8, 9, 1))


def _tone(colour: tuple[int, int, int], by: int) -> tuple[int, int, int]:
    return tuple(int(min(255, max(0, c + by))) for c in colour)


def _mix(colour, other, share: float) -> tuple[int, int, int]:
    return tuple(round(a * (1 - share) + b * share) for a, b in zip(colour, other, strict=True))


def _backdrop(pen: Pen, rng: np.random.Generator, ground) -> None:
    for _ in range(rng.integers(0, 3)):
        pen.ellipse(rng.random(), rng.random(), rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.35), _tone(ground, 10))


def _shoulders(pen, rng, x, y, s, skin, clothes) -> None:
    pen.ellipse(x, y + 0.62 * s, 0.36 * s, 0.3 * s, clothes)
    pen.box(x - 0.08 * s, y + 0.15 * s, x + 0.08 * s, y + 0.36 * s, _tone(skin, -22), 0.04)
    collar = rng.integers(3)
    if collar == 0:
        pen.polygon([(x - 0.1 * s, y + 0.34 * s), (x + 0.1 * s, y + 0.34 * s), (x, y + 0.47 * s)], _tone(skin, -8))
    elif collar == 1:
        pen.arc(x, y + 0.34 * s, 0.11 * s, 0.07 * s, 0, 180, _tone(clothes, 34), 0.025 * s)
    else:
        pen.line([(x, y + 0.38 * s), (x, y + 0.6 * s)], _tone(clothes, -24), 0.01)


def _head(pen, x, y, s, skin) -> None:
    for side in (-1, 1):
        pen.ellipse(x + side * 0.2 * s, y + 0.02 * s, 0.035 * s, 0.05 * s, _tone(skin, -14))
    pen.ellipse(x, y, 0.2 * s, 0.25 * s, skin)


def _long_hair(pen, x, y, s, hair, straight: bool) -> None:
    pen.ellipse(x, y - 0.06 * s, 0.26 * s, 0.26 * s, hair)
    if straight:
        pen.box(x - 0.26 * s, y - 0.06 * s, x + 0.26 * s, y + 0.36 * s, hair, 0.06)
    else:
        for side in (-1, 1):
            for step in range(4):
                pen.ellipse(x + side * 0.21 * s, y + 0.1 * step * s, 0.085 * s, 0.085 * s, hair)


def _hair(pen, rng, x, y, s, hair, style: int) -> None:
    if style == 5:  # bald
        return
    pen.chord(x, y - 0.03 * s, 0.215 * s, 0.245 * s, 192, 348, hair)
    if style == 0:
        pen.ellipse(x + 0.03 * s, y - 0.21 * s, 0.15 * s, 0.075 * s, hair)
    elif style == 3:
        for step in np.linspace(-0.18, 0.18, 7):
            pen.ellipse(x + step * s, y - 0.2 * s + 0.9 * step**2 * s, 0.06 * s, 0.06 * s, hair)
    elif style == 4:
        pen.ellipse(x, y - 0.3 * s, 0.085 * s, 0.075 * s, hair)
    else:
        side = rng.choice([-1, 1])
        pen.chord(x - side * 0.06 * s, y - 0.11 * s, 0.17 * s, 0.15 * s, 190, 340, hair)


def _eyes(pen, rng, x, y, s, hair, smiling: bool) -> None:
    dark, lift = (40, 32, 30), rng.uniform(-0.012, 0.012) + 0.006 * smiling
    open_by = rng.uniform(0.018, 0.024) if smiling else rng.uniform(0.021, 0.027)
    laughing = smiling and rng.random() < 0.4
    for side in (-1, 1):
        ex, ey = x + side * 0.085 * s, y - 0.03 * s
        brow = y - 0.085 * s - lift
        pen.line(
            [(ex - 0.04 * s, brow + 0.008 * s), (ex, brow), (ex + 0.04 * s, brow + 0.008 * s)], _tone(hair, -12), 0.013
        )
        if laughing:
            pen.arc(ex, ey + 0.014 * s, 0.036 * s, 0.032 * s, 190, 350, dark, 0.014 * s)
            continue
        pen.ellipse(ex, ey, 0.034 * s, open_by * s, (250, 250, 248))
        pen.ellipse(ex + 0.004 * s, ey, 0.017 * s, min(0.019, open_by) * s, dark)
        pen.ellipse(ex + 0.009 * s, ey - 0.007 * s, 0.006 * s, 0.006 * s, (255, 255, 255))


def _nose(pen, x, y, s, skin) -> None:
    shade = _tone(skin, -34)
    pen.line([(x, y - 0.01 * s), (x - 0.022 * s, y + 0.055 * s), (x + 0.012 * s, y + 0.06 * s)], shade, 0.01)


def _mouth(pen, rng, x, y, s, skin, smiling: bool) -> None:
    lip = (176, 74, 72) if sum(skin) > 330 else (150, 66, 66)
    my, width = y + 0.125 * s, rng.uniform(0.085, 0.105) * s
    if not smiling:
        bend = rng.normal(-0.002, 0.004) * s
        points = [(x - 0.75 * width, my), (x, my + bend), (x + 0.75 * width, my)]
        pen.line(points, lip, rng.uniform(0.016, 0.028))
        return
    depth = rng.uniform(0.05, 0.072) * s
    if rng.random() < 0.6:
        for side in (-1, 1):
            pen.ellipse(x + side * 0.125 * s, y + 0.065 * s, 0.038 * s, 0.026 * s, _mix(skin, (226, 110, 100), 0.35))
    if rng.random() < 0.55:
        pen.chord(x, my - 0.015 * s, width * 1.15, depth * 1.35, 0, 180, _tone(lip, -40))
        pen.chord(x, my - 0.013 * s, width * 1.0, depth * 0.7, 0, 180, (250, 248, 244))
    else:
        pen.arc(x, my - 0.02 * s, width * 1.15, depth * 1.2, 12, 168, lip, 0.017)


def _extras(pen, rng, x, y, s, hair) -> None:
    what = rng.random()
    if what < 0.2:
        frame = _tone((46, 46, 54), int(rng.integers(0, 60)))
        for side in (-1, 1):
            pen.arc(x + side * 0.085 * s, y - 0.03 * s, 0.06 * s, 0.05 * s, 0, 360, frame, 0.011)
        pen.line([(x - 0.026 * s, y - 0.035 * s), (x + 0.026 * s, y - 0.035 * s)], frame, 0.011)
    elif what < 0.3:
        hat = CLOTHES[rng.integers(len(CLOTHES))]
        pen.chord(x, y - 0.12 * s, 0.225 * s, 0.18 * s, 180, 360, hat)
        pen.box(x - 0.25 * s, y - 0.145 * s, x + 0.25 * s, y - 0.105 * s, _tone(hat, -24), 0.02)
    elif what < 0.38:
        for side in (-1, 1):
            pen.ellipse(x + side * 0.2 * s, y + 0.085 * s, 0.014 * s, 0.014 * s, (226, 186, 80))


def _shadow(pen, x, y, rx) -> None:
    pen.ellipse(x + 0.02, y, rx, rx * 0.22, (120, 104, 88))


def _mug(pen, rng, x, y, s, glaze) -> None:
    half, height, side = 0.12 * s, 0.26 * s, rng.choice([-1, 1])
    _shadow(pen, x, y + height, half * 1.3)
    pen.arc(x + side * half, y + height * 0.5, 0.07 * s, 0.085 * s, 0, 360, _tone(glaze, -14), 0.026 * s)
    pen.box(x - half, y, x + half, y + height, glaze, 0.03)
    pen.ellipse(x, y + 0.005, half, 0.035 * s, _tone(glaze, -30))
    pen.ellipse(x, y + 0.012, half * 0.88, 0.025 * s, (92, 60, 42))
    if rng.random() < 0.5:
        pen.box(x - half, y + height * 0.45, x + half, y + height * 0.6, _tone(glaze, 34))


def _bowl(pen, rng, x, y, s, glaze) -> None:
    half, depth = 0.22 * s, 0.19 * s
    _shadow(pen, x, y + depth, half * 0.8)
    pen.box(x - half * 0.4, y + depth * 0.8, x + half * 0.4, y + depth * 1.05, _tone(glaze, -24), 0.01)
    pen.chord(x, y, half, depth, 0, 180, glaze)
    pen.ellipse(x, y, half, 0.05 * s, _tone(glaze, -28))
    pen.ellipse(x, y + 0.008, half * 0.86, 0.036 * s, _pick(rng, ((240, 214, 150), (150, 176, 96), (226, 120, 80))))


def _plate(pen, rng, x, y, s, glaze) -> None:
    half = 0.27 * s
    flat = rng.uniform(0.34, 0.44)
    y += 0.1 * s
    _shadow(pen, x, y + 0.03, half * 1.02)
    pen.ellipse(x, y, half, half * flat, glaze)
    pen.ellipse(x, y + 0.004, half * 0.93, half * flat * 0.9, _tone(glaze, 26))
    pen.ellipse(x, y + 0.004, half * 0.62, half * flat * 0.6, _tone(glaze, 8))


def _glass(pen, rng, x, y, s, glaze) -> None:
    top, foot, height = 0.095 * s, 0.075 * s, 0.31 * s
    y -= 0.04 * s
    _shadow(pen, x, y + height, top * 1.2)
    pen.polygon([(x - top, y), (x + top, y), (x + foot, y + height), (x - foot, y + height)], (226, 238, 244))
    drink, level = _pick(rng, ((250, 206, 96), (206, 92, 84), (176, 214, 230), (140, 190, 120))), rng.uniform(0.25, 0.6)
    upper = top + (foot - top) * level
    edge = y + height * level
    pen.polygon([(x - upper, edge), (x + upper, edge), (x + foot, y + height), (x - foot, y + height)], drink)
    pen.ellipse(x, edge, upper, 0.018 * s, _tone(drink, 18))
    pen.arc(x, y, top, 0.024 * s, 0, 360, (176, 196, 206), 0.007)
    pen.line([(x - top * 0.6, y + 0.04 * s), (x - foot * 0.6, y + height * 0.85)], (250, 252, 254), 0.012)


KITCHEN_DRAWERS: dict[str, Callable] = {"mug": _mug, "bowl": _bowl, "plate": _plate, "glass": _glass}
