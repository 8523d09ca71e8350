"""Augmentation: a training image is shown each time a little moved, mirrored, lit and covered otherwise.

What is drawn depends only on (seed, epoch, position), so a resumed run sees exactly what the first would have seen,
and a batch can be made in any thread. Pixels stay in 0..255, which is what the model takes. Whoever moves an image
resamples it, which blurs; so cut-outs are best taken from copies `LARGER` than what the model takes (ADR 0064).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(frozen=True)
class Recipe:
    """How much is changed; 0 switches a change off.

    Attributes
    ----------
    flip : chance of mirroring left and right
    zoom : largest share by which the side of the cut-out shrinks or grows
    shift : largest share of the side by which the cut-out moves
    turn : largest angle in degrees
    light : largest share by which brightness and contrast change
    cover : chance that a square of up to a third of the side is greyed out
    """

    flip: float = 0.5
    zoom: float = 0.2
    shift: float = 0.12
    turn: float = 15.0
    light: float = 0.35
    cover: float = 0.6


FLIP_ONLY = Recipe(zoom=0, shift=0, turn=0, light=0, cover=0)
LARGER = 1.5
"""Side of the copies that cut-outs are taken from, as a multiple of the model's."""


def batch(
    images: "Sequence[np.ndarray]", recipe: Recipe, rng: "np.random.Generator", size: int | None = None
) -> "np.ndarray":
    """Changed copies, uint8 (n, size, size, 3), of uint8 squares (side, side, 3).

    ``size`` is that of the first image if it is not given; the images may be larger, and of several sides.
    """
    import numpy as np

    size = size or images[0].shape[0]
    changed = np.empty((len(images), size, size, 3), np.uint8)
    draws = rng.random((len(images), 10))
    for i, image in enumerate(images):
        changed[i] = _change(image, recipe, draws[i], size)
        if draws[i, 7] < recipe.cover:
            _cover(changed[i], draws[i, 7] / recipe.cover, draws[i, 8], draws[i, 9])
    return changed


def _change(image: "np.ndarray", recipe: Recipe, draw: "np.ndarray", size: int) -> "np.ndarray":
    import numpy as np
    from PIL import Image, ImageOps

    changed = _move(Image.fromarray(image), recipe, draw, size)
    if draw[0] < recipe.flip:
        changed = ImageOps.mirror(changed)
    if not recipe.light:
        return np.asarray(changed)
    # not by `point`: it rounds all 768 values of its table anew for each image, longer than looking the pixels up
    lit = changed.tobytes().translate(_lit(changed, recipe.light, draw[5], draw[6]))
    return np.frombuffer(lit, np.uint8).reshape(size, size, 3)


def _lit(image: "Image.Image", light: float, contrast: float, brightness: float) -> bytes:
    """What each of the 256 values of a channel becomes: further from, or nearer to, the mean, and lighter."""
    import numpy as np

    grey = sum(_mean(image)) / 3
    values = (np.arange(256) - grey) * (1 + light * (2 * contrast - 1)) + grey + 255 * light / 2 * (2 * brightness - 1)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()


def _move(image: "Image.Image", recipe: Recipe, draw: "np.ndarray", size: int) -> "Image.Image":
    """Zoom, shift and turn about the middle in one resampling; the border is filled with the mean colour."""
    import numpy as np
    from PIL import Image

    side = image.width
    if not (recipe.zoom or recipe.shift or recipe.turn):
        return image if side == size else image.resize((size, size), Image.Resampling.BILINEAR)
    scale = (1 + recipe.zoom * (2 * draw[1] - 1)) * side / size
    angle = np.deg2rad(recipe.turn * (2 * draw[2] - 1))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = size / 2
    across, down = side / 2 + side * recipe.shift * (2 * draw[3:5] - 1)
    matrix = (cos, sin, across - cos * middle - sin * middle, -sin, cos, down + sin * middle - cos * middle)
    return image.transform(
        (size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=_mean(image)
    )


def _mean(image: "Image.Image") -> tuple[int, ...]:
    return image.reduce(image.size).getpixel((0, 0))


def _cover(image: "np.ndarray", share: float, down: float, across: float) -> None:
    size = image.shape[0]
    side = max(1, int(size * (0.1 + 0.23 * share)))
    top, left = int(down * (size - side)), int(across * (size - side))
    image[top : top + side, left : left + side] = 127
