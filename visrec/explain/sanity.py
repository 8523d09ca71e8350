"""The sanity check: an explanation that survives throwing away the model's weights explains the image only.

A *randomised twin* has a model's architecture and none of what it learnt. Explaining the twin and comparing tells
whether the map hangs on the model; judging many twins' explanations sets the badge's thresholds.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visrec.errors import InputError, nearest
from visrec.explain.badge import DO_NOT_USE, NONE, Badge, rank_correlation
from visrec.explain.lime_image import Explanation, Predict, Progress, Stop, explain_image

if TYPE_CHECKING:
    import keras

KINDS = {
    "redrawn": "kernels redrawn (He, normal), normalisation reset: an untrained network",
    "shuffled": "each tensor's values shuffled: the trained weights' distribution, nothing of their order",
    "settled": "kernels redrawn and normalisation fitted to the images: an untrained network with lively answers",
}
UNCHANGED = 0.7
"""A rank correlation with the twin's map from here on means: the map does not hang on what the model learnt."""


def randomised(model: "keras.Model", kind: str = "redrawn", seed: int = 0, images: np.ndarray | None = None):
    """A twin of a Keras model with randomised weights; the model itself is left alone.

    Parameters
    ----------
    model : Keras model with inputs (n, h, w, 3) in 0 ... 255
    kind : a key of `KINDS`
    seed : of the draw
    images : (n, h, w, 3) in 0 ... 255, only for ``settled``: what normalisation layers are fitted to

    References
    ----------
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, https://arxiv.org/abs/1810.03292.
    """
    import keras

    if kind not in KINDS:
        raise InputError(f"There is no randomisation '{kind}'. {nearest(kind, KINDS)}")
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    draw = np.random.default_rng(seed)
    for layer in _leaves(twin):
        layer.set_weights([_redraw(w, layer, kind, draw) for w in layer.weights])
    if kind == "settled":
        _settle(twin, images)
    return twin


def twin_predictor(model_file: Path, seed: int = 0, *, device_busy: bool = False) -> Predict:
    """The predict function of a randomised twin of a ``.keras`` file; on the CPU while a training has the device."""
    import tempfile

    from visrec.model import engine
    from visrec.model.predict import load_keras

    twin = randomised(load_keras(model_file, cpu_only=device_busy), "redrawn", seed)
    with tempfile.TemporaryDirectory() as scratch:
        return engine.for_model(twin, Path(scratch) / "twin.xml", engine=engine.choose(device_busy=device_busy))


def map_changes(
    image: np.ndarray,
    explanation: Explanation,
    twin: Predict,
    *,
    label: int | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> float:
    """Rank correlation between an explanation's weights and its twin's; about 0 is good, near 1 is a bad sign.

    NaN when the twin's answer never changes: then there is nothing to compare, and nothing to fear.
    """
    label = explanation.label if label is None else label
    found = explain_image(
        image, twin, label=label, samples=explanation.samples, seed=explanation.seed,
        segmenter=explanation.segments, fill=explanation.fill, progress=progress, stop=stop,
    )  # fmt: skip
    if np.isnan(found.r2[label]):
        return float("nan")
    return rank_correlation(explanation.weights[label], found.weights[label])


@dataclass(frozen=True)
class Sanity:
    """Whether a map hangs on what the model learnt.

    Attributes
    ----------
    correlation : rank correlation of the map with the randomised twin's; about 0 is good; NaN: the twin never moves
    passed : whether throwing the weights away changes the map
    sentence : for people
    """

    correlation: float
    passed: bool
    sentence: str

    def to_json(self) -> dict:
        """As plain values."""
        return asdict(self)


def check_sanity(image: np.ndarray, explanation: Explanation, twin: Predict, **options) -> Sanity:
    """Explain a randomised twin as the model was explained, and say what follows; options as of `map_changes`."""
    found = map_changes(image, explanation, twin, **options)
    if np.isnan(found):
        return Sanity(found, True, "With its weights thrown away the model's answer never moves: the map is learnt.")
    if found < UNCHANGED:
        told = f"With the model's weights thrown away the map changes (rank correlation {found:.2f}): it is learnt."
        return Sanity(found, True, told)
    told = (
        f"With the model's weights thrown away the map stays nearly the same (rank correlation {found:.2f}): it shows "
        "the image, not what the model learnt. Do not use it."
    )
    return Sanity(found, False, told)


def with_sanity(badge: Badge, sanity: Sanity | None) -> Badge:
    """The badge in the light of the sanity check: a map of the image alone is not to be used, however good it looks."""
    if sanity is None or sanity.passed or badge.verdict == NONE:
        return badge
    reason = (
        f"it shows the image, not what the model learnt (rank correlation {sanity.correlation:.2f} without weights)"
    )
    return replace(badge, verdict=DO_NOT_USE, reasons=(reason, *badge.reasons))


def _leaves(model) -> list:
    """Layers with weights of their own, nested models opened."""
    return [layer for layer in model._flatten_layers() if layer.weights and not hasattr(layer, "layers")]


def _redraw(weight, layer, kind: str, draw: np.random.Generator) -> np.ndarray:
    value = np.asarray(weight)
    if kind == "shuffled":
        return draw.permutation(value.ravel()).reshape(value.shape)
    name = weight.name
    if name in ("gamma", "moving_variance"):
        return np.ones_like(value)
    if value.ndim < 2:
        return np.zeros_like(value)
    depthwise = "depthwise" in type(layer).__name__.lower()
    inputs = np.prod(value.shape[: -2 if depthwise else -1])
    return draw.normal(0, np.sqrt(2 / inputs), value.shape).astype(value.dtype)


def _settle(model, images: np.ndarray | None) -> None:
    """Let every batch normalisation take the statistics of some images, by running in training mode."""
    import keras

    if images is None:
        raise InputError("The randomisation 'settled' needs images to fit the normalisation to; none were given.")
    norms = [x for x in _leaves(model) if isinstance(x, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images.astype(np.float32), training=True)
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum
