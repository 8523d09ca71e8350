"""Alignment: whether the same place shows the same thing in every image, as eyes do in cropped faces.

Only then does a mean map over images mean something. It is measured by how much fine detail (edges, not light and
colour) any two of the images share.
"""

from dataclasses import dataclass

import numpy as np

ALIGNED = 0.12
"""Measured on 20 to 160 images: cropped faces 0.21 to 0.28, drawn mugs 0.17 to 0.30, photos of stop signs 0.00 to 0.07;
faces shifted by up to a tenth 0.13, by up to a fifth 0.04."""
LEAST = 20
"""Of fewer images the mean over their pairs is too noisy to be on one side of the threshold for sure."""
SIDE = 32


@dataclass(frozen=True)
class Alignment:
    """How alike the images are, place by place.

    Attributes
    ----------
    score : correlation of an image's detail with the mean detail of very many others, 1 = all the same, 0 = unrelated;
        it does not depend on how many images there are
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

    Notes
    -----
    A frame or watermark that every image carries is shared detail too, and counts as alignment.
    """
    count = len(images)
    if count < LEAST:
        unknown = f"Whether the images are aligned cannot be said of {count}; at least {LEAST} are needed."
        return Alignment(float("nan"), count, None, unknown)
    score = shared_detail(_detail(images))
    if score >= ALIGNED:
        return Alignment(score, count, True, f"The images are aligned (detail correlates by {score:.2f}).")
    told = (
        f"The images are not aligned (detail correlates by {score:.2f}, aligned ones by {ALIGNED:.2f} or more): "
        "the same place shows different things, so mean maps and their differences say little. "
        "Crop the images alike first."
    )
    return Alignment(score, count, False, told)


def shared_detail(detail: np.ndarray) -> float:
    """Square root of the mean correlation over all pairs: the correlation with the mean of infinitely many.

    Parameters
    ----------
    detail : float (n, m), rows of length 1 (or 0, for an image without detail)

    >>> shared_detail(np.array([[0.6, 0.8], [0.6, 0.8], [0.8, 0.6]])).__round__(3)
    0.987
    """
    count = len(detail)
    pairs = (np.square(detail.sum(axis=0)).sum() - np.square(detail).sum()) / (count * (count - 1))
    return float(np.sqrt(max(pairs, 0.0)))


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
