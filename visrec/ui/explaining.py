"""Explaining one image on a page: where it comes from, what is computed once, and what is only redrawn.

An image that a visitor sends stays in the memory of that visit: neither it nor its explanation is written anywhere,
nor kept where another visitor could meet it.
"""

import hashlib
import io
import json
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st

from visrec.errors import InputError, NotFoundError
from visrec.ui import cached

SHOWN_SIDE = 640
"""Longest side in pixels at which an image and its overlay are drawn and downloaded."""
KEPT = 6
READING = 0.004
"""Seconds to read and decode one image of a bucket, beside asking the model; only for estimates."""
SEGMENTERS = {
    "slic": "even pieces (SLIC)",
    "quickshift": "by colour (quickshift)",
    "felzenszwalb": "by edges (Felzenszwalb)",
}
FILLS = {"mean": "their mean colour", "blur": "a blur", "grey": "grey"}


@dataclass(frozen=True)
class Picture:
    """One image to explain.

    Attributes
    ----------
    name : the file's name or key
    shown : uint8 (h, w, 3), at most `SHOWN_SIDE` on the longer side: the part that the model sees, so that a map of
        the model's view lies where it belongs
    pixels : uint8 (size, size, 3), what the model sees
    digest : of the bytes, so that the same image is explained once
    size : width and height in pixels, as it was sent
    row : its row of the predictions (label, attributes), None for an image from outside
    """

    name: str
    shown: np.ndarray = field(repr=False)
    pixels: np.ndarray = field(repr=False)
    digest: str
    size: tuple[int, int]
    row: pd.Series | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Recipe:
    """How an explanation is made; the same recipe gives the same weights.

    Attributes
    ----------
    samples : maskings; None = as many as the superpixels need
    settle : stop earlier, when the heaviest superpixels have settled
    """

    samples: int | None = None
    seed: int = 0
    segmenter: str = "slic"
    fill: str = "mean"
    settle: bool = False


def picture(data: bytes, name: str, size: int, row: pd.Series | None = None, fit: str = "stretch") -> Picture:
    """Bytes as a picture; refuses, in a sentence, what is no image, too large or damaged."""
    from PIL import Image

    from visrec.explain.upload import read_upload

    pixels = read_upload(data, name, size, fit)
    image = Image.fromarray(read_upload(data, name))
    size_sent = image.size
    shown = np.asarray(_to_show(image, fit))
    return Picture(name, shown, pixels, hashlib.sha256(data).hexdigest(), size_sent, row)


def _to_show(image, fit: str):
    """The image at the size it is drawn at; cut or padded as the model's square is, stretched only by the overlay."""
    from PIL import Image

    from visrec.data.images import to_square

    if fit != "stretch":
        return to_square(image, SHOWN_SIDE, fit)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    if max(image.size) < SHOWN_SIDE / 2:  # outlines need pixels to be drawn on
        factor = max(2, round(SHOWN_SIDE / 2 / max(image.size)))
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    return image


def from_bucket(run, key: str, size: int, row: pd.Series | None = None) -> Picture:
    """An image of the bucket the run was trained on."""
    from visrec.storage.buckets import open_bucket

    bucket = run.record.get("bucket")
    if not bucket:
        raise NotFoundError("This run does not say which bucket its images are in; upload an image instead.")
    return picture(open_bucket(bucket, cached.settings()).read(key), key, size, row, run.fit)


def worst_first(rows: pd.DataFrame, scores: list[str]) -> pd.DataFrame:
    """Wrong answers first, the surest of them at the top; then right ones, the least sure first.

    >>> table = pd.DataFrame({"label": list("aab"), "prediction": list("aba"), "score:a": [.9, .2, .6],
    ...                       "score:b": [.1, .8, .4]})
    >>> worst_first(table, ["score:a", "score:b"]).index.tolist()
    [1, 2, 0]
    """
    wrong = rows["label"].astype(str) != rows["prediction"].astype(str)
    sure = rows[scores].max(axis=1) if scores else pd.Series(0.0, index=rows.index)
    key = np.where(wrong, -1 - sure, sure)
    return rows.iloc[np.argsort(key, kind="stable")]


def explanation(run_id: str, image: Picture, recipe: Recipe, predict, progress=None):
    """The explanation of this visit's image: from memory, or computed now."""
    from visrec.explain.lime_image import explain_image

    kept = _kept()
    key = (run_id, image.digest, recipe)
    if key not in kept:
        kept[key] = explain_image(
            image.pixels,
            predict,
            samples=recipe.samples,
            seed=recipe.seed,
            segmenter=recipe.segmenter,
            fill=recipe.fill,
            adaptive=recipe.settle,
            progress=progress,
        )
        while len(kept) > KEPT:
            kept.popitem(last=False)
    return kept[key]


def is_known(run_id: str, image: Picture, recipe: Recipe) -> bool:
    """Whether the explanation is in memory."""
    return (run_id, image.digest, recipe) in _kept()


def badge(run_id: str, image: Picture, recipe: Recipe, label: int, predict, explained, progress=None):
    """The trust badge of one class's explanation: from memory, or computed now."""
    from visrec.explain.badge import judge

    kept = st.session_state.setdefault("_badges", OrderedDict())
    key = (run_id, image.digest, recipe, label)
    if key not in kept:
        kept[key] = judge(image.pixels, predict, explained, label=label, progress=progress)
        while len(kept) > KEPT:
            kept.popitem(last=False)
    return kept[key]


def badge_is_known(run_id: str, image: Picture, recipe: Recipe, label: int) -> bool:
    """Whether the badge is in memory."""
    return (run_id, image.digest, recipe, label) in st.session_state.get("_badges", ())


def seconds_per_image(run_id: str, predict) -> float:
    """Seconds that the model of a run takes for one image, measured once."""
    return _speed(cached.settings().runs, run_id, predict.engine, predict)


@st.cache_resource(max_entries=8, show_spinner="Measuring how fast the model answers")
def _speed(url: str, run_id: str, engine: str, _predict) -> float:
    images = np.zeros((8, _predict.image_size, _predict.image_size, 3), np.uint8)
    _predict(images[:1])
    taken = []
    for _ in range(3):  # the best of three: what else runs for a moment would be held against the model for good
        began = time.perf_counter()
        _predict(images)
        taken.append(time.perf_counter() - began)
    return min(taken) / len(images)


def second_is_known(run_id: str, image: Picture, label: int, method: str) -> bool:
    """Whether another method's map is in memory."""
    return (run_id, image.digest, label, method) in st.session_state.get("_second", ())


def second_opinion(run_id: str, image: Picture, label: int, method: str, predict, progress=None):
    """Another method's map (`visrec.explain.second.Attribution`): from memory, or computed now."""
    from visrec.explain import second

    kept = st.session_state.setdefault("_second", OrderedDict())
    key = (run_id, image.digest, label, method)
    if key not in kept:
        if method == "occlusion":
            kept[key] = second.occlusion(image.pixels, predict, label, progress=progress)
        elif method == "grad_cam":  # one look, nothing to tell of in between
            kept[key] = second.grad_cam(_network(run_id), image.pixels, label)
        else:
            kept[key] = second.integrated_gradients(_network(run_id), image.pixels, label, progress=progress)
        while len(kept) > KEPT:
            kept.popitem(last=False)
    return kept[key]


def sanity(run_id: str, image: Picture, recipe: Recipe, label: int, explained, *, ask: bool, progress=None):
    """Whether the map hangs on what the model learnt (`visrec.explain.sanity.Sanity`).

    From memory, else None unless ``ask``: loading the network and throwing its weights away takes some seconds, once.
    """
    from visrec.explain.sanity import check_sanity

    kept = st.session_state.setdefault("_sanity", OrderedDict())
    key = (run_id, image.digest, recipe, label)
    if key not in kept and ask:
        kept[key] = check_sanity(image.pixels, explained, _twin_of(run_id), label=label, progress=progress)
        while len(kept) > KEPT:
            kept.popitem(last=False)
    return kept.get(key)


def _twin_of(run_id: str):
    from visrec.runs import jobs

    current = cached.settings()
    return _twin(current.runs, run_id, jobs.is_training(current))


@st.cache_resource(max_entries=2, show_spinner="Throwing the weights of a copy away (some seconds, once)")
def _twin(url: str, run_id: str, device_busy: bool):
    from visrec.explain.sanity import twin_predictor

    return twin_predictor(cached.run(run_id).local("model.keras"), device_busy=device_busy)


def _network(run_id: str):
    from visrec.runs import jobs

    current = cached.settings()
    return _loaded_network(current.runs, run_id, jobs.is_training(current))


@st.cache_resource(max_entries=2, show_spinner="Loading the network itself (some seconds, once)")
def _loaded_network(url: str, run_id: str, cpu_only: bool):
    from visrec.model.predict import load_keras

    return load_keras(cached.run(run_id).local("model.keras"), cpu_only=cpu_only)


def drawn_map(image: Picture, values: np.ndarray, opacity: float) -> np.ndarray:
    """A pixel map (h, w) of the model's view, stretched over the image as it is shown: uint8 (H, W, 3)."""
    from PIL import Image

    from visrec.explain.overlay import render_map

    height, width = image.shown.shape[:2]
    stretched = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return render_map(image.shown, np.asarray(stretched), opacity=opacity)


def agreement(weights: np.ndarray, values: np.ndarray, segments: np.ndarray, top: int = 5) -> tuple[int, int, float]:
    """How many of the most supporting superpixels two methods share, of how many, and how many chance would.

    >>> agreement(np.array([3.0, 2, 1]), np.array([[1.0, 2, 5]]), np.array([[0, 1, 2]]), top=2)
    (1, 2, 1.3333333333333333)
    """
    from visrec.explain.second import by_superpixel

    top = min(top, len(weights))
    sums = by_superpixel(values, segments)
    one, two = (set(np.argsort(-w, kind="stable")[:top].tolist()) for w in (weights, sums))
    return len(one & two), top, top * top / len(weights)


def _kept() -> OrderedDict:
    return st.session_state.setdefault("_explanations", OrderedDict())


def png(pixels: np.ndarray) -> bytes:
    """Encode uint8 (h, w, 3) without loss."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def as_json(run_id: str, image: Picture, explained, labels: list[str], judged=None, sane=None) -> bytes:
    """The explanation's document (`visrec.explain.document`) with the run and the image it belongs to."""
    from visrec.explain.document import to_document

    document = {
        "run": run_id,
        "file": image.name,
        "sha256": image.digest,
        **to_document(explained, labels, judged, sane),
    }
    return json.dumps(_known(document), allow_nan=False).encode()


def _known(value):
    """NaN is no JSON: unknown becomes null."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def check_model(run) -> None:
    """Raise a sentence when the run has no model to ask."""
    if run.record.get("kind") == "imported-table":
        raise InputError("This run is a table of predictions; it has no model to ask. Choose a trained run.")
    if not (run.has("model.keras") or run.has("model.tflite")):
        raise NotFoundError(f"This run has no model (it is {run.status().state}). Choose a run that has finished.")
