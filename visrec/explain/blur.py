"""Blur: whether an image is blurrier than nearly all that a model was trained on. Its pixels alone tell that.

Compared is with training images where their pixels are at hand: in the index of a run (`visrec.explain.neighbours`), or
prepared in the cache of this machine. Where they are not, a fixed floor calls only what is plainly blurred so.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from visrec.errors import VisrecError

if TYPE_CHECKING:
    from visrec.config import Settings
    from visrec.runs.record import Run

BLURRED = 0.01
FLOOR = 1.5
"""Of `sharpness`, where training images are not known: of 200 photos of FairFace none lies below it, at 96 pixels or at
224 (1.7 at least); smeared over a twentieth of their side all of them do (1.3 at most)."""
SAMPLE, LEAST = 500, 100
"""Training images that say what is usual, and how few are enough; of fewer, one in a hundred is none."""


def sharpness(image: np.ndarray) -> float:
    """How sharp an image is: log of the variance of its Laplacian; larger is sharper, in no unit.

    Parameters
    ----------
    image : uint8 (h, w, 3); compare only images of one size

    References
    ----------
    Pech-Pacheco et al. (2000), Diatom autofocusing in brightfield microscopy. A flat, sharp image counts as blurred.
    """
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    centre = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return float(np.log1p(laplacian.var()))


def is_blurred(image: np.ndarray, usual: np.ndarray | None) -> bool:
    """Whether an image is blurrier than 99 % of others, or than `FLOOR` where those are not known.

    Parameters
    ----------
    image : uint8 (s, s, 3), as the model sees it
    usual : float (n,), sorted `sharpness` of training images of the same size; None = not known
    """
    found = sharpness(image)
    if usual is None or not len(usual):
        return found < FLOOR
    return bool(np.searchsorted(usual, found) / len(usual) < BLURRED)


def usual_sharpness(run: "Run", settings: "Settings", size: int, *, seed: int = 0) -> np.ndarray | None:
    """Sorted sharpness of a seeded sample of a run's training images, float (n,); None where no pixels are prepared."""
    from visrec.storage.buckets import open_bucket

    try:
        rows = run.predictions()
        wanted = {"store": open_bucket(run.record["bucket"], settings).url, "size": size, "fit": run.fit}
    except (VisrecError, KeyError):  # an imported model, or a bucket that is gone
        return None
    train = set(rows.loc[rows["split"].astype(str) == "train", "file"])
    for folder in sorted((settings.cache / "prepared").glob("[0-9a-f]*")):
        try:
            recipe = json.loads((folder / "recipe.json").read_text())
            if any(recipe.get(key) != value for key, value in wanted.items()):
                continue
            facts = pd.read_parquet(folder / "samples.parquet")
            images = np.load(folder / "images.npy", mmap_mode="r")
        except (OSError, ValueError):  # being made, or being deleted
            continue
        known = facts.loc[(facts["status"] == "ok") & facts["file"].isin(train), "row"].to_numpy()
        if len(known) >= LEAST:
            picked = np.random.default_rng(seed).choice(known, min(SAMPLE, len(known)), replace=False)
            return np.sort([sharpness(images[row]) for row in np.sort(picked)])
    return None
