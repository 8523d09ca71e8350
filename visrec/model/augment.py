"""Augmentation: a training image is shown each epoch a little moved, mirrored, lit and covered otherwise.

What is drawn depends only on (seed, epoch, position), so a resumed run sees exactly what the first would have seen,
and a batch can be made in any thread. Pixels stay in 0..255, which is what the model takes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


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
    zoom: float = 0.12
    shift: float = 0.08
    turn: float = 8.0
    light: float = 0.2
    cover: float = 0.25


FLIP_ONLY = Recipe(zoom=0, shift=0, turn=0, light=0, cover=0)


def batch(images: "np.ndarray", recipe: Recipe, rng: "np.random.Generator") -> "np.ndarray":
    """Changed copies, float32 (n, size, size, 3) in 0..255, of uint8 images of that shape."""
    import numpy as np

    changed = np.empty(images.shape, np.float32)
    draws = rng.random((len(images), 10))
    for i, image in enumerate(images):
        changed[i] = _change(image, recipe, draws[i])
    return changed


def _change(image: "np.ndarray", recipe: Recipe, draw: "np.ndarray") -> "np.ndarray":
    import numpy as np

    moved = _move(image, recipe, draw)
    if draw[0] < recipe.flip:
        moved = moved[:, ::-1]
    moved = moved.astype(np.float32)
    if recipe.light:
        contrast, brightness = 1 + recipe.light * (2 * draw[5] - 1), 255 * recipe.light / 2 * (2 * draw[6] - 1)
        grey = moved.mean()
        moved = np.clip((moved - grey) * contrast + grey + brightness, 0, 255)
    if draw[7] < recipe.cover:
        _cover(moved, draw[7] / recipe.cover, draw[8], draw[9])
    return moved


def _move(image: "np.ndarray", recipe: Recipe, draw: "np.ndarray") -> "np.ndarray":
    """Zoom, shift and turn about the middle in one resampling; the border is filled with the mean colour."""
    import numpy as np
    from PIL import Image

    if not (recipe.zoom or recipe.shift or recipe.turn):
        return image
    size = image.shape[0]
    scale = 1 + recipe.zoom * (2 * draw[1] - 1)
    angle = np.deg2rad(recipe.turn * (2 * draw[2] - 1))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = (size - 1) / 2
    across, down = middle + size * recipe.shift * (2 * draw[3:5] - 1)
    matrix = (cos, sin, across - cos * middle - sin * middle, -sin, cos, down + sin * middle - cos * middle)
    fill = tuple(int(v) for v in image[:: max(1, size // 16), :: max(1, size // 16)].mean((0, 1)))
    turned = Image.fromarray(image).transform(
        (size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR, fillcolor=fill
    )
    return np.asarray(turned)


def _cover(image: "np.ndarray", share: float, down: float, across: float) -> None:
    size = image.shape[0]
    side = max(1, int(size * (0.1 + 0.23 * share)))
    top, left = int(down * (size - side)), int(across * (size - side))
    image[top : top + side, left : left + side] = 127.0
