"""Augmentation: a training image is shown each epoch a little moved, mirrored, lit and covered otherwise.

What is drawn depends only on (seed, epoch, position), so a resumed run sees exactly what the first would have seen,
and a batch can be made in any thread. Pixels stay in 0..255, which is what the model takes.
"""

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


def batch(images: "np.ndarray", recipe: Recipe, rng: "np.random.Generator") -> "np.ndarray":
    """Changed copies of uint8 images (n, size, size, 3), of the same shape and type."""
    import numpy as np

    changed = np.empty_like(images)
    draws = rng.random((len(images), 10))
    for i, image in enumerate(images):
        changed[i] = _change(image, recipe, draws[i])
        if draws[i, 7] < recipe.cover:
            _cover(changed[i], draws[i, 7] / recipe.cover, draws[i, 8], draws[i, 9])
    return changed


def _change(image: "np.ndarray", recipe: Recipe, draw: "np.ndarray") -> "np.ndarray":
    from PIL import Image, ImageOps

    changed = _move(Image.fromarray(image), recipe, draw)
    if draw[0] < recipe.flip:
        changed = ImageOps.mirror(changed)
    if recipe.light:
        changed = changed.point(_lit(changed, recipe.light, draw[5], draw[6]))
    return changed


def _lit(image: "Image.Image", light: float, contrast: float, brightness: float) -> list[int]:
    """What each of the 256 values of the three channels becomes: further from, or nearer to, the mean, and lighter."""
    import numpy as np

    grey = sum(_mean(image)) / 3
    values = (np.arange(256) - grey) * (1 + light * (2 * contrast - 1)) + grey + 255 * light / 2 * (2 * brightness - 1)
    return np.clip(np.rint(values), 0, 255).astype(int).tolist() * 3


def _move(image: "Image.Image", recipe: Recipe, draw: "np.ndarray") -> "Image.Image":
    """Zoom, shift and turn about the middle in one resampling; the border is filled with the mean colour."""
    import numpy as np
    from PIL import Image

    if not (recipe.zoom or recipe.shift or recipe.turn):
        return image
    size = image.width
    scale = 1 + recipe.zoom * (2 * draw[1] - 1)
    angle = np.deg2rad(recipe.turn * (2 * draw[2] - 1))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (size - 1) / 2
    across, down = middle + size * recipe.shift * (2 * draw[3:5] - 1)
    matrix = (cos, sin, across - cos * middle - sin * middle, -sin, cos, down + sin * middle - cos * middle)
    fill = _mean(image)
    return image.transform(
        (size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=fill
    )


def _mean(image: "Image.Image") -> tuple[int, ...]:
    return image.reduce(image.size).getpixel((0, 0))


def _cover(image: "np.ndarray", share: float, down: float, across: float) -> None:
    size = image.shape[0]
    side = max(1, int(size * (0.1 + 0.23 * share)))
    top, left = int(down * (size - side)), int(across * (size - side))
    image[top : top + side, left : left + side] = 127
