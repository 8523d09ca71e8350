"""Fine-tuning: the whole network learns, from augmented pixels fed out of the memory map.

The recipe: augmentation until the last epochs, AdamW (Loshchilov, Hutter 2019, https://arxiv.org/abs/1711.05101) with
warm-up and cosine decay, label smoothing, BatchNorm with a momentum that follows a few hundred steps. After each epoch
the tune rows are judged and the best weights kept; the rows that are audited are never looked at.
"""

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from visrec.errors import RunError
from visrec.model import augment, batch_norm, checkpoint, engine
from visrec.model.watch import Watch
from visrec.runs.record import Run
from visrec.runs.reporter import Reporter

if TYPE_CHECKING:
    import keras
    import numpy as np

    from visrec.config import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """How the backbone is trained; measured on real faces (benchmarks/RESULTS.md).

    Attributes
    ----------
    rate : peak of the learning rate
    warm_up : share of the steps in which the rate climbs from near 0
    decay : weight decay of AdamW, not for biases and BatchNorm
    smoothing : label smoothing
    patience : epochs without a better tune loss after which training stops; 0 = never
    settle : share of the epochs asked for, the last ones, that see images as they are, mirrored at most (ADR 0069)
    """

    rate: float = 2e-3
    warm_up: float = 0.1
    decay: float = 1e-2
    smoothing: float = 0.05
    patience: int = 0
    settle: float = 0.15
    changes: augment.Recipe = field(default_factory=augment.Recipe)

    def to_json(self) -> dict[str, Any]:
        """A plain dict for the run's record."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "Recipe":
        """What `to_json` made."""
        return cls(**{**found, "changes": augment.Recipe(**found["changes"])})

    def settles_from(self, epochs: int) -> int:
        """The first epoch, counted from 0, that sees images as they are."""
        return epochs - int(epochs * self.settle + 0.5)


AHEAD = 3
"""Batches made before they are needed."""
FROM_SCRATCH = Recipe(changes=augment.FLIP_ONLY, settle=0.0)
"""From random weights with few steps: nothing but mirroring, for there is no time to learn more."""


def recipe_for(*, pretrained: bool, mirror: bool) -> Recipe:
    """The recipe for what training begins with; without ``mirror``, left stays left."""
    recipe = Recipe() if pretrained else FROM_SCRATCH
    return recipe if mirror else replace(recipe, changes=replace(recipe.changes, flip=0.0))


def cuts(config: "TrainConfig") -> bool:
    """Whether a training needs larger copies to cut from: it fine-tunes, and from weights that know something."""
    return bool(config.fine_tune_epochs) and config.weights != "none"


@dataclass(frozen=True)
class Data:
    """What is trained on and chosen with.

    Attributes
    ----------
    images : uint8 (n, size, size, 3), a memory map
    labels : int (n,), class of each row
    weights : float32 (n,), weight of each row
    train, tune : int, rows
    classes : number of classes
    larger : uint8 (m, side, side, 3), larger copies that augmentation cuts from; None = it cuts from ``images``
    larger_rows : int (n,), row in ``larger`` of each row of ``images``, -1 where there is none
    """

    images: "np.ndarray"
    labels: "np.ndarray"
    weights: "np.ndarray"
    train: "np.ndarray"
    tune: "np.ndarray"
    classes: int
    larger: "np.ndarray | None" = None
    larger_rows: "np.ndarray | None" = None

    @property
    def size(self) -> int:
        """Side in pixels of what the model takes."""
        return self.images.shape[1]

    def to_cut(self, rows: "np.ndarray") -> "list[np.ndarray]":
        """Of each row the copy that augmentation cuts from: the larger one where there is one."""
        places = [-1] * len(rows) if self.larger_rows is None else self.larger_rows[rows]
        return [self.images[row] if at < 0 else self.larger[at] for row, at in zip(rows, places, strict=True)]


def fine_tune(
    model: "keras.Model",
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    recipe: Recipe,
    run: Run,
    reporter: Reporter,
    watch: Watch,
) -> dict[str, Any]:
    """Train ``model`` in place and leave the best weights in it.

    Goes on from the run's checkpoint if there is one. Returns what was decided: best epoch and its tune loss.

    Raises
    ------
    RunError
        When the loss is no number.
    """
    recipe = _as_begun(run, recipe)
    fed = feed(data, recipe, batch_size, seed, epochs)
    with batch_norm.fused(model):
        return _train(model, data, fed, epochs, recipe, run, reporter, watch)


def _as_begun(run: Run, recipe: Recipe) -> Recipe:
    """The recipe that a run to be gone on with began with, whatever another version's is by now."""
    if not run.store.exists(checkpoint.LAST):
        run.update(recipe=recipe.to_json())
        return recipe
    begun = run.record.get("recipe")
    return Recipe.from_json(begun) if begun else replace(recipe, settle=0.0)  # so it was before it was written down


def _train(model, data, fed, epochs, recipe, run, reporter, watch) -> dict[str, Any]:
    compile_model(model, recipe, steps=len(fed) * epochs)
    notes = checkpoint.load(run, checkpoint.LAST, model, model.optimizer)
    if notes is None:
        # the network as it comes is the first candidate: fine-tuning a few images may well make it worse
        before = judge(model, data, watch, reporter.check)["tune_loss"]
        notes = {"epoch": 0, "best": before if math.isfinite(before) else None, "best_epoch": 0}
        checkpoint.save(run, checkpoint.BEST, model)
    else:
        reporter.restore_history(notes["history"])
        reporter.restore_seconds("fine_tune", notes.get("seconds", 0.0))
        reporter.log(f"Goes on after epoch {notes['epoch']} of {epochs}.")
    for epoch in range(notes["epoch"], epochs):
        if _enough(notes, recipe):
            reporter.log(f"No better tune loss for {recipe.patience} epochs: enough.")
            break
        fed.epoch = epoch
        if epoch == recipe.settles_from(epochs):
            reporter.log("From here on images are shown as they are, so they are learnt more easily.")
        fitted = _one_epoch(model, fed, epoch, epochs, reporter)
        judged = judge(model, data, watch, reporter.check)
        _check_number(fitted["loss"], judged["tune_loss"], epoch)
        reporter.confirm()
        if notes["best"] is None or judged["tune_loss"] < notes["best"]:
            notes |= {"best": judged["tune_loss"], "best_epoch": epoch + 1}
            checkpoint.save(run, checkpoint.BEST, model)
        reporter.epoch({"stage": "fine_tune", "epoch": epoch + 1, **fitted, **judged["row"]})
        reporter.log(_line(epoch, epochs, fitted, judged))
        seconds = reporter.closed_seconds().get("fine_tune", 0.0)
        notes |= {"epoch": epoch + 1, "history": reporter.history, "seconds": seconds}
        checkpoint.save(run, checkpoint.LAST, model, model.optimizer, notes)
    checkpoint.load(run, checkpoint.BEST, model)
    return {"best_epoch": notes["best_epoch"], "best_tune_loss": notes["best"]}


def compile_model(model: "keras.Model", recipe: Recipe, *, steps: int) -> None:
    """AdamW with warm-up and cosine, and a place in it for every variable, as a checkpoint needs it."""
    import keras

    warm = max(1, round(steps * recipe.warm_up))
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate * 0.01, max(1, steps - warm), alpha=0.0, warmup_target=recipe.rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    _compile(model, optimizer, recipe)


def _compile(model: "keras.Model", optimizer, recipe: Recipe) -> None:
    """No XLA on a CPU, where it is ten times slower; JAX is nothing without it."""
    import keras

    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.smoothing)
    model.compile(optimizer, loss, weighted_metrics=["accuracy"], jit_compile=engine.backend() == "jax")


def judge(model: "keras.Model", data: Data, watch: Watch, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Loss and accuracy on the tune rows (on the train rows where there are none), and of each watched cell."""
    import numpy as np

    rows = data.tune if len(data.tune) else data.train
    chances = []
    for at in range(0, len(rows), 64):
        check()
        pixels = data.images[rows[at : at + 64]].astype(np.float32)
        answers = np.asarray(model.predict_on_batch(pixels))  # once from each replica when several GPUs share the work
        chances.append(answers[: len(pixels)])
    chances = np.concatenate(chances).astype(np.float64)
    truth, weights = data.labels[rows], data.weights[rows]
    right = np.log(np.maximum(chances[np.arange(len(rows)), truth], 1e-12))
    loss = float(-(weights @ right) / weights.sum())
    correct = chances.argmax(1) == truth
    row = {"tune_loss": loss, "tune_accuracy": float(correct.mean()), **watch.accuracies(correct)}
    return {"tune_loss": loss, "row": row, "worst": watch.worst(correct)}


def feed(data: Data, recipe: Recipe, batch_size: int, seed: int, epochs: int):
    """The batches as Keras takes them: whole ones only, in an order that follows from (seed, epoch)."""
    import keras
    import numpy as np

    size = min(batch_size, len(data.train))
    mirrored = replace(augment.FLIP_ONLY, flip=recipe.changes.flip)

    class Feed(keras.utils.PyDataset):
        epoch = 0

        def __len__(self) -> int:
            return max(1, len(data.train) // size)

        def __getitem__(self, step: int):
            order = np.random.default_rng([seed, 3, self.epoch]).permutation(data.train)
            rows = np.sort(order[step * size : (step + 1) * size])  # sorted: the memory map is read forwards
            rng = np.random.default_rng([seed, 4, self.epoch, step])
            if self.epoch < recipe.settles_from(epochs):
                pixels = augment.batch(data.to_cut(rows), recipe.changes, rng, data.size)
            else:
                pixels = augment.batch(data.images[rows], mirrored, rng)
            pixels = pixels.astype(np.float32)
            return pixels, np.eye(data.classes, dtype=np.float32)[data.labels[rows]], data.weights[rows]

    return Feed(workers=1, use_multiprocessing=False, max_queue_size=4)


def _one_epoch(model: "keras.Model", fed, epoch: int, epochs: int, reporter: Reporter) -> dict[str, float]:
    """One pass over the train rows; the mean loss and accuracy of its steps."""
    steps = len(fed)

    def told(step: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            _check_number(logs["loss"], 0.0, epoch)
        text = f"Epoch {epoch + 1} of {epochs}, step {step + 1} of {steps}"
        reporter.advance(epoch * steps + step + 1, epochs * steps, text)

    logs = (step_by_step if batch_norm.suits(model) else _fit)(model, fed, told)
    return {"loss": float(logs["loss"]), "accuracy": float(logs["accuracy"])}


def step_by_step(model: "keras.Model", fed, told: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
    """On a CPU: batches made in one thread beside the steps. Each step's figures are its own; their means come back.

    Fed through ``fit``, every other epoch or so ran on one core only, and took 1.6 times as long (two cores, TensorFlow
    2.21); the same steps called one by one never did.
    """
    steps, loss, right, weighed = len(fed), 0.0, 0.0, 0.0
    with ThreadPoolExecutor(1) as feeder:
        coming = deque(feeder.submit(fed.__getitem__, step) for step in range(min(AHEAD, steps)))
        for step in range(steps):
            pixels, wanted, weights = coming.popleft().result()
            if step + AHEAD < steps:
                coming.append(feeder.submit(fed.__getitem__, step + AHEAD))
            logs = model.train_on_batch(pixels, wanted, sample_weight=weights, return_dict=True)
            told(step, logs)
            weight = float(weights.sum())
            loss, right, weighed = loss + logs["loss"], right + logs["accuracy"] * weight, weighed + weight
    return {"loss": loss / steps, "accuracy": right / weighed}


def _fit(model: "keras.Model", fed, told: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
    """On GPUs, which share a batch, and on JAX: as Keras does it."""
    import keras

    class Step(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            told(batch, logs or {})

    result = model.fit(fed, epochs=1, shuffle=False, verbose=0, callbacks=[Step()])
    return {name: values[0] for name, values in result.history.items()}


def _enough(notes: dict[str, Any], recipe: Recipe) -> bool:
    return bool(recipe.patience) and notes["epoch"] - notes["best_epoch"] >= recipe.patience


def _check_number(loss: float, tune_loss: float, epoch: int) -> None:
    if not (math.isfinite(loss) and math.isfinite(tune_loss)):
        raise RunError(
            f"The loss was no number any more in epoch {epoch + 1}. Resume tries that epoch again; if it happens "
            "again, start a new run with another seed, a larger batch size or fewer epochs."
        )


def _line(epoch: int, epochs: int, fitted: dict[str, float], judged: dict[str, Any]) -> str:
    row = judged["row"]
    return (
        f"Epoch {epoch + 1} of {epochs}: loss {fitted['loss']:.3f}, accuracy {fitted['accuracy']:.3f}; tune loss "
        f"{row['tune_loss']:.3f}, accuracy {row['tune_accuracy']:.3f}. {judged['worst']}"
    )
