"""Neighbours: the training images that the model finds most like a new one, and whether any is near enough.

*Near* is measured by the model's own features (cosine distance). What distance is usual comes from held-out images of
the same data: an image farther than 99 % of those is *far from the training data*, and the model's answer a guess.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from visrec.errors import NotFoundError
from visrec.explain.lime_image import Progress, Stop

if TYPE_CHECKING:
    from visrec.config import Settings
    from visrec.runs.record import Run

NAME = "explanations/neighbours.npz"
FAR = 0.99
BLURRED = 0.01
CLOSE = 5
"""An image's distance to the training data is the mean distance to so many nearest images."""
MOST = 20_000
LEAST_HELD_OUT = 100
"""Fewer held-out images cannot calibrate a 99th percentile."""


@dataclass(frozen=True)
class Neighbours:
    """What is near an image.

    Attributes
    ----------
    images : one row per neighbour, nearest first: file, label, distance (cosine, 0 = the same, up to 2)
    distance : mean distance to the `CLOSE` nearest
    percentile : share of held-out images that are nearer to the training data; NaN when there are too few
    far : farther than 99 % of held-out images; None = unknown
    sharpness_percentile : share of training images that are blurrier
    blurred : blurrier than 99 % of training images
    """

    images: pd.DataFrame
    distance: float
    percentile: float
    far: bool | None
    sharpness_percentile: float
    blurred: bool


@dataclass(frozen=True)
class Index:
    """Features of training images, and what is usual among held-out ones.

    Attributes
    ----------
    features : float16 (n, d), rows of length 1
    files, labels : of those images
    held_out : float32 (m,), sorted distances of held-out images to the training data
    sharpness : float32 (n,), sorted sharpness of the training images
    """

    features: np.ndarray
    files: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray
    sharpness: np.ndarray

    def near(self, feature: np.ndarray, sharpness: float, count: int = 6) -> Neighbours:
        """The nearest training images of one image.

        Parameters
        ----------
        feature : float (d,), of the model's last layer but one
        sharpness : of `sharpness`
        """
        distances = _distances(self.features, _unit(np.atleast_2d(feature)))[0]
        order = np.argsort(distances, kind="stable")
        nearest = order[:count]
        images = pd.DataFrame(
            {"file": self.files[nearest], "label": self.labels[nearest], "distance": distances[nearest]}
        )
        distance = float(distances[order[:CLOSE]].mean())
        enough = len(self.held_out) >= LEAST_HELD_OUT
        percentile = float(np.searchsorted(self.held_out, distance) / len(self.held_out)) if enough else float("nan")
        sharp = float(np.searchsorted(self.sharpness, sharpness) / max(1, len(self.sharpness)))
        return Neighbours(images, distance, percentile, percentile >= FAR if enough else None, sharp, sharp < BLURRED)


def build_index(
    features: np.ndarray, files: list[str], labels: list[str], held_out: np.ndarray, sharpness: np.ndarray
) -> Index:
    """An index from features.

    Parameters
    ----------
    features : float (n, d), of training images
    held_out : float (m, d), of images that were not trained on (tune, val or test)
    sharpness : float (n,), of the training images
    """
    unit = _unit(features).astype(np.float16)
    if len(held_out):
        nearest = np.sort(_distances(unit, _unit(held_out)), axis=1)[:, :CLOSE].mean(axis=1)
    else:
        nearest = np.zeros(0)
    return Index(
        unit, np.asarray(files, str), np.asarray(labels, str),
        np.sort(nearest).astype(np.float32), np.sort(np.asarray(sharpness, np.float32)),
    )  # fmt: skip


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


class FeaturePredictor:
    """A run's model up to its features, through the engine that the rule chooses: call it with (n, s, s, 3)."""

    def __init__(self, run: "Run"):
        import tempfile
        from pathlib import Path

        from visrec.model import engine, mobilenet
        from visrec.model.predict import load_keras

        model = mobilenet.feature_model(load_keras(run.local("model.keras")))
        with tempfile.TemporaryDirectory() as scratch:
            self._engine = engine.for_model(model, Path(scratch) / "features.xml")
        self.image_size = self._engine.image_size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features float32 (n, d)."""
        return self._engine(images)


def index_run(
    run: "Run",
    settings: "Settings",
    features: FeaturePredictor | None = None,
    *,
    most: int = MOST,
    seed: int = 0,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> Index:
    """Make the index of a run, and keep it there.

    Parameters
    ----------
    most : a seeded sample of that many training images at most, and a third as many held-out ones
    """
    from visrec.explain.pixels import read_pixels
    from visrec.storage.buckets import open_bucket

    features = features or FeaturePredictor(run)
    rows = run.predictions()
    train = _sampled(rows[rows["split"] == "train"], most, seed)
    held = _sampled(rows[rows["split"].isin(["tune", "val", "test"])], most // 3, seed)
    wanted = pd.concat([train.assign(part="train"), held.assign(part="held")])
    store = open_bucket(run.record["bucket"], settings)
    found, sharp, kept = [], [], []
    batches = read_pixels(store, wanted["file"].tolist(), features.image_size, progress=progress, stop=stop)
    for files, images in batches:
        found.append(features(images))
        sharp += [sharpness(image) for image in images]
        kept += files
    if not kept:
        raise NotFoundError(f"None of the images of run '{run.id}' can be read from its bucket any more.")
    table = wanted.drop_duplicates("file").set_index("file").loc[kept]
    values, sharp, is_train = np.concatenate(found), np.array(sharp), (table["part"] == "train").to_numpy()
    labels = table["label"].astype(str).to_numpy()
    files = np.array(kept, str)
    index = build_index(values[is_train], files[is_train], labels[is_train], values[~is_train], sharp[is_train])
    save_index(run, index)
    return index


def save_index(run: "Run", index: Index) -> None:
    """Keep an index in its run."""
    buffer = io.BytesIO()
    np.savez(buffer, **vars(index))
    run.store.write(NAME, buffer.getvalue())


def load_index(run: "Run") -> Index | None:
    """The index of a run, None if it was not made yet."""
    if not run.store.exists(NAME):
        return None
    with np.load(io.BytesIO(run.store.read(NAME)), allow_pickle=False) as kept:
        return Index(**{name: kept[name] for name in Index.__dataclass_fields__})


def _sampled(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return rows if len(rows) <= most else rows.sample(most, random_state=np.random.default_rng(seed)).sort_index()


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _distances(known: np.ndarray, asked: np.ndarray, rows: int = 256) -> np.ndarray:
    """Cosine distances float32 (len(asked), len(known)), in blocks so that memory stays small."""
    table = known.astype(np.float32).T
    return np.concatenate([1 - asked[i : i + rows] @ table for i in range(0, len(asked), rows)])
