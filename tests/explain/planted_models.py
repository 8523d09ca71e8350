"""Small planted models and drawn images, whose explanations are known beforehand."""

import numpy as np


def drawn_image(size: int, seed: int = 0) -> np.ndarray:
    """A few flat shapes on a slanted ground with a little noise: uint8 (size, size, 3)."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    image = np.stack([90 + 80 * rows, 120 + 60 * columns, 150 - 70 * rows], axis=-1)
    for _ in range(5):
        y, x, r = *random.uniform(0.1, 0.9, 2), random.uniform(0.08, 0.25)
        image[(rows - y) ** 2 + (columns - x) ** 2 < r**2] = random.uniform(0, 255, 3)
    return np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


class Pooled:
    """A nonlinear model of the mean colours of a grid of squares; computes in the dtype it is given."""

    def __init__(self, size: int, classes: int = 3, seed: int = 0, grid: int = 4, strength: float = 6.0):
        random = np.random.default_rng(seed)
        self.grid, self.step = grid, size // grid
        self.weights = random.normal(0, strength, (grid * grid * 3, classes))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        n, g, s = len(images), self.grid, self.step
        squares = images[:, : g * s, : g * s].reshape(n, g, s, g, s, 3).mean(axis=(2, 4)).reshape(n, -1) / 255
        logits = np.tanh(squares - 0.5) @ self.weights.astype(images.dtype)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def left_half(images: np.ndarray) -> np.ndarray:
    """A model that only looks at how bright the left half is: float (n, 2)."""
    bright = images[:, :, : images.shape[2] // 2].mean(axis=(1, 2, 3)) / 255
    p = 1 / (1 + np.exp(-8 * (bright - 0.4)))
    return np.stack([1 - p, p], axis=1)


def constant(images: np.ndarray) -> np.ndarray:
    """A model that never changes its mind: float (n, 2)."""
    return np.tile([0.3, 0.7], (len(images), 1))


def left_detail(images: np.ndarray) -> np.ndarray:
    """A model that only looks at how much detail (contrast between neighbours) the left half has: float (n, 2)."""
    half = images[:, :, : images.shape[2] // 2].astype(np.float64)
    detail = np.abs(np.diff(half, axis=2)).mean(axis=(1, 2, 3))
    p = 1 / (1 + np.exp(-1.2 * (detail - 5)))
    return np.stack([1 - p, p], axis=1)


FACE = 32


def faces(count: int, seed: int) -> np.ndarray:
    """Aligned drawings: an oval with two eyes and a mouth, light and colour varied: uint8 (n, 32, 32, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:FACE, :FACE] / FACE
    images = np.empty((count, FACE, FACE, 3))
    for image in images:
        image[:] = random.uniform(60, 120, 3)
        image[((y - 0.5) / 0.42) ** 2 + ((x - 0.5) / 0.33) ** 2 < 1] = random.uniform(140, 200, 3)
        for eye in (0.36, 0.64):
            image[(y - 0.42) ** 2 + (x - eye) ** 2 < 0.004] = random.uniform(10, 60)
        image[(abs(y - 0.72) < 0.03) & (abs(x - 0.5) < 0.14)] = random.uniform(20, 90)
        image += random.normal(0, 8, image.shape)
    return np.clip(images, 0, 255).astype(np.uint8)
