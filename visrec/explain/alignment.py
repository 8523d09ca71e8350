"""Alignment: whether the same place shows the same thing in every image, as eyes do in cropped faces.

Only then does a mean map over images mean something. It is measured by how much fine detail (edges, not light and
colour) each image shares with the mean of the others.
"""

from dataclasses import dataclass

import numpy as np

ALIGNED = 0.1
"""Measured: cropped faces 0.18 to 0.22, photos of stop signs 0.02 to 0.03, faces shifted by up to a fifth 0.00."""
LEAST = 10
SIDE = 32


@dataclass(frozen=True)
class Alignment:
    """How alike the images are, place by place.

    Attributes
    ----------
    score : mean correlation of an image's detail with the mean detail of the others; 1 = all the same, 0 = unrelated
    images : how many were compared
    aligned : score of at least `ALIGNED`; None = too few images to say
    sentence : for people
    """

    score: float
    images: int
    aligned: bool | None
    sentence: str


def measure_alignment(images: np.ndarray) -> Alignment:
    """Measure images.

    Parameters
    ----------
    images : uint8 (n, s, s, 3)
    """
    count = len(images)
    if count < LEAST:
        unknown = f"Whether the images are aligned cannot be said of {count}; at least {LEAST} are needed."
        return Alignment(float("nan"), count, None, unknown)
    detail = _detail(images)
    others = detail.sum(axis=0) - detail
    norms = np.linalg.norm(others, axis=1)
    score = float(np.mean((detail * others).sum(axis=1) / np.where(norms > 0, norms, 1)))
    if score >= ALIGNED:
        return Alignment(score, count, True, f"The images are aligned (detail correlates by {score:.2f}).")
    told = (
        f"The images are not aligned (detail correlates by {score:.2f}, aligned ones by {ALIGNED:.2f} or more): "
        "the same place shows different things, so mean maps and their differences say little. "
        "Crop the images alike first."
    )
    return Alignment(score, count, False, told)


def _detail(images: np.ndarray) -> np.ndarray:
    """Each image small, grey, without what a blur keeps, as a vector of length 1: float32 (n, SIDE * SIDE)."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    small = np.stack(
        [np.asarray(Image.fromarray(x).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) for x in images]
    ).astype(np.float32)
    fine = (small - gaussian_filter(small, (0, 2, 2), mode="nearest")).reshape(len(images), -1)
    fine -= fine.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(fine, axis=1, keepdims=True)
    return fine / np.where(norms > 1e-6, norms, np.inf)
