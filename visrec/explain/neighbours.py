"""Neighbours: the training images that the model finds most like a new one, and whether it is of their kind at all.

*Near* is measured by the model's own features (cosine distance). Whether an image is *far from the training data* is
another question, which those features answer badly (noise and portraits on their head pass as usual), and is put to
`visrec.explain.familiar`; what is blurred is told by the training images too, `visrec.explain.blur`.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from visrec.errors import NotFoundError
from visrec.explain.blur import sharpness
from visrec.explain.familiar import LEAST_HELD_OUT, SPOILT, Familiarity, from_arrays, learn, plain_views, spoil
from visrec.explain.lime_image import Progress, Stop

if TYPE_CHECKING:
    from visrec.config import Settings
    from visrec.runs.record import Run

NAME = "explanations/neighbours.npz"
MOST = 20_000
LEARNT, SPOILT_ONES, HELD = 1000, 400, 1500
"""Training images, spoilt ones of each kind, and held-out images that say what is usual: more would change little."""


@dataclass(frozen=True)
class Neighbours:
    """What is near an image.

    Attributes
    ----------
    images : one row per neighbour, nearest first: file, label, distance (cosine, 0 = the same, up to 2)
    percentile : share of held-out images that are less strange than this one; NaN when there are too few
    far : so strange that at most 2 % of images like the training images are; None = unknown
    """

    images: pd.DataFrame
    percentile: float
    far: bool | None


@dataclass(frozen=True)
class Index:
    """Features of training images, and what is usual among held-out ones.

    Attributes
    ----------
    features : float16 (n, d), rows of length 1
    files, labels : of those images
    sharpness : float32 (n,), sorted sharpness of the training images
    familiar : what is usual, None when too few held-out images could say so
    """

    features: np.ndarray
    files: np.ndarray
    labels: np.ndarray
    sharpness: np.ndarray
    familiar: Familiarity | None

    def near(self, feature: np.ndarray, views: list[np.ndarray], count: int = 6) -> Neighbours:
        """The nearest training images of one image.

        Parameters
        ----------
        feature : float (d,), of the model's last layer but one
        views : of this image, float (1, w) each, as `FeaturePredictor.look` gives them
        """
        distances = _distances(self.features, _unit(np.atleast_2d(feature)))[0]
        nearest = np.argsort(distances, kind="stable")[:count]
        images = pd.DataFrame(
            {"file": self.files[nearest], "label": self.labels[nearest], "distance": distances[nearest]}
        )
        percentile, far = float("nan"), None
        if self.familiar is not None:
            score = float(self.familiar.score(views)[0])
            percentile, far = self.familiar.percentile(score), self.familiar.is_far(score)
        return Neighbours(images, percentile, far)


def build_index(
    features: np.ndarray, files: list[str], labels: list[str], sharpness: np.ndarray, familiar: Familiarity | None
) -> Index:
    """An index from features.

    Parameters
    ----------
    features : float (n, d), of training images
    sharpness : float (n,), of the training images
    familiar : what is usual
    """
    return Index(
        _unit(features).astype(np.float16), np.asarray(files, str), np.asarray(labels, str),
        np.sort(np.asarray(sharpness, np.float32)), familiar,
    )  # fmt: skip


class FeaturePredictor:
    """A run's model up to its features, and its feature maps on the way there, through the engine of the rule.

    ``device_busy``: the GPU belongs to a training now, so use the CPU.
    """

    def __init__(self, run: "Run", *, device_busy: bool = False):
        import tempfile
        from pathlib import Path

        from visrec.explain.taps import tapped
        from visrec.model import engine
        from visrec.model.predict import load_keras

        model, self._widths = tapped(load_keras(run.local("model.keras"), cpu_only=device_busy))
        with tempfile.TemporaryDirectory() as scratch:
            chosen = engine.choose(device_busy=device_busy)
            self._engine = engine.for_model(model, Path(scratch) / "features.xml", engine=chosen)
        self.image_size = self._engine.image_size

    def look(self, images: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Features float32 (n, d), and the views of `visrec.explain.familiar`, of images (n, s, s, 3)."""
        found = np.split(self._engine(images), np.cumsum(self._widths)[:-1], axis=1)
        return found[0], [*plain_views(images), *found[1:]]


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
    from visrec.runs import jobs
    from visrec.storage.buckets import open_bucket

    features = features or FeaturePredictor(run, device_busy=jobs.is_training(settings))
    rows = run.predictions()
    train = _sampled(rows[rows["split"] == "train"], most, seed)
    held = _sampled(rows[rows["split"].isin(["tune", "val", "test"])], most // 3, seed)
    wanted = pd.concat([train.assign(part="train"), held.assign(part="held")])
    wanted = wanted.drop_duplicates("file").set_index("file", drop=False)
    seen = _Seen(features, _sampled(train, LEARNT, seed)["file"], _sampled(held, HELD, seed)["file"])
    store = open_bucket(run.record["bucket"], settings)
    for files, images in read_pixels(
        store, wanted["file"].tolist(), features.image_size, fit=run.fit, progress=progress, stop=stop
    ):  # fmt: skip
        seen.add(files, images)
    if not seen.files:
        raise NotFoundError(f"None of the images of run '{run.id}' can be read from its bucket any more.")
    table = wanted.loc[seen.files]
    is_train = (table["part"] == "train").to_numpy()
    index = build_index(
        np.concatenate(seen.features)[is_train], np.array(seen.files, str)[is_train],
        table["label"].astype(str).to_numpy()[is_train], np.array(seen.sharpness)[is_train], seen.learn(seed),
    )  # fmt: skip
    save_index(run, index)
    return index


class _Seen:
    """What is remembered of the images while they pass by; the views of those that say what is usual."""

    def __init__(self, features: FeaturePredictor, learnt, held):
        self._look, self._learnt, self._held = features.look, dict.fromkeys(learnt), dict.fromkeys(held)
        self._pixels: dict[str, np.ndarray] = {}
        self._spoil = set(list(self._learnt)[:SPOILT_ONES])
        self.files, self.features, self.sharpness = [], [], []

    def add(self, files: list[str], images: np.ndarray) -> None:
        features, views = self._look(images)
        self.files += files
        self.features.append(features)
        self.sharpness += [sharpness(image) for image in images]
        for i, file in enumerate(files):
            part = self._learnt if file in self._learnt else self._held if file in self._held else None
            if part is not None:
                part[file] = [view[i].astype(np.float32) for view in views]
            if file in self._spoil:
                self._pixels[file] = images[i]

    def learn(self, seed: int) -> Familiarity | None:
        """What is usual; in the order of the table, as images arrive in another order each time."""
        held, train = ([v for v in part.values() if v is not None] for part in (self._held, self._learnt))
        if len(held) < LEAST_HELD_OUT or len(train) < LEAST_HELD_OUT:
            return None
        pixels = np.stack([self._pixels[f] for f in self._learnt if f in self._pixels])
        spoilt = {kind: self._look(spoil(pixels, kind, seed))[1] for kind in SPOILT}
        stacked = [[np.stack(view) for view in zip(*part, strict=True)] for part in (train, held)]
        return learn(stacked[0], spoilt, stacked[1])


def save_index(run: "Run", index: Index) -> None:
    """Keep an index in its run."""
    buffer = io.BytesIO()
    arrays = {name: value for name, value in vars(index).items() if name != "familiar"}
    np.savez_compressed(buffer, **arrays, **(index.familiar.arrays() if index.familiar else {"familiar": False}))
    run.store.write(NAME, buffer.getvalue())


def load_index(run: "Run") -> Index | None:
    """The index of a run, None if it was not made yet."""
    if not run.store.exists(NAME):
        return None
    with np.load(io.BytesIO(run.store.read(NAME)), allow_pickle=False) as kept:
        if "held_out" in kept:  # made by an earlier version, which asked another question
            return None
        names = [name for name in Index.__dataclass_fields__ if name != "familiar"]
        return Index(**{name: kept[name] for name in names}, familiar=from_arrays(kept))


def _sampled(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return rows if len(rows) <= most else rows.sample(most, random_state=np.random.default_rng(seed)).sort_index()


def _unit(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float32)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _distances(known: np.ndarray, asked: np.ndarray, rows: int = 256) -> np.ndarray:
    """Cosine distances float32 (len(asked), len(known)), in blocks so that memory stays small."""
    table = known.astype(np.float32).T
    return np.concatenate([1 - asked[i : i + rows] @ table for i in range(0, len(asked), rows)])
