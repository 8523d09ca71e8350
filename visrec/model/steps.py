"""The stages of a training, one function each; `visrec.model.train` puts them in order."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visrec.audit.splits import SEEN_IN_TRAINING, choose_split
from visrec.config import Settings, TrainConfig
from visrec.model import checkpoint, device, engine, export, features, head, mobilenet
from visrec.model import fine_tune as tuning
from visrec.model.mobilenet import Weights
from visrec.model.watch import Watch, accuracy
from visrec.model.work import PREDICTED, Work
from visrec.runs.record import Run, headline
from visrec.runs.reporter import Reporter

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from visrec.model.train import Plan

FLATTERED = "No image of val or test could be read: the accuracy is that of images seen in training, and flatters it."


@dataclass(frozen=True)
class Result:
    """A trained model and what was decided on the way; ``chances`` when the predictions are known already."""

    model: "keras.Model"
    decisions: dict[str, Any]
    chances: "np.ndarray | None" = None


def weights(planned: "Plan", settings: Settings, run: Run, reporter: Reporter) -> Weights:
    """Find the weights to begin with, and say where they are from."""
    config = planned.config
    found = mobilenet.find_weights(
        config.weights, config.alpha, config.image_size,
        keras_home=settings.keras_home, allow_random=bool(config.allow_random),
    )  # fmt: skip
    if not found.wanted:
        run.update(warnings=[*run.record.get("warnings", []), found.note])
        reporter.log(f"Warning: {found.note}")
    else:
        reporter.log(found.note)
    run.update(weights_note=found.note, weights_as_asked=found.wanted)
    return found


def head_only(work: Work, weights: Weights, run: Run, reporter: Reporter) -> Result:
    """A logistic layer on frozen features; which features, and how strongly to shrink, is chosen on tune."""
    table, whole = _features(work, weights, "both", work.rows(*PREDICTED), reporter)
    deep = mobilenet.deep_width(whole)
    choices = {"deep": slice(0, deep), "spatial": slice(deep, None), "both": slice(None)}
    reporter.stage("head", "Training the head on the stored features.")
    part = _head_data(work, table)
    penalties = {}
    for i, (taps, columns) in enumerate(choices.items()):
        penalties[taps] = part.choose(columns, reporter)
        reporter.advance(i + 1, len(choices) + 1)
    taps = min(penalties, key=lambda name: penalties[name][1])
    best = part.fit(choices[taps], penalties[taps][0], reporter)
    chances = best(table[:, choices[taps]])
    run.update(watched=part.watch.counts)
    model = whole if taps == "both" else _model(work, weights, taps)
    mobilenet.set_head(model, best.kernel, best.bias)
    decisions = {
        "taps": taps, "penalty": best.penalty, "tune_loss": best.loss,
        "held_out_loss": {name: loss for name, (_, loss) in penalties.items()},
    }  # fmt: skip
    reporter.log(f"Chose the {taps} features and penalty {best.penalty}.")
    return Result(model, decisions, chances)


def whole_network(work: Work, weights: Weights, run: Run, reporter: Reporter, *, warm: bool) -> Result:
    """All of the network; with ``warm``, the head is first fitted on features, so that it does not start blind."""
    model = _model(work, weights, "deep")
    decisions: dict[str, Any] = {"taps": "deep"}
    if warm and not run.store.exists(checkpoint.LAST):
        table, _ = _features(work, weights, "deep", work.rows("train", "tune"), reporter)
        reporter.stage("head", "Training the head on the stored features.")
        part = _head_data(work, table)
        fitted = part.fit(slice(None), part.choose(slice(None), reporter)[0], reporter)
        mobilenet.set_head(model, fitted.kernel, fitted.bias)
        decisions["penalty"] = fitted.penalty
    config = work.config
    recipe = tuning.recipe_for(pretrained=weights.path is not None, mirror=config.mirror is not False)
    reporter.stage("fine_tune", f"Training the whole network, {config.fine_tune_epochs} epochs.")
    # from random weights images are only mirrored: cut from a larger copy they would be resized, and blurred, in vain
    data = work.data if weights.path is not None else replace(work.data, larger=None, larger_rows=None)
    chosen = _compute_of(run)
    with device.placed(chosen):
        trained = model if chosen.plain else _copy(model, work, weights)
        decisions["fine_tune"] = tuning.fine_tune(
            trained, data, epochs=config.fine_tune_epochs, batch_size=config.batch_size, seed=config.seed,
            recipe=recipe, run=run, reporter=reporter, watch=_watch(work, run),
        )  # fmt: skip
    if trained is not model:  # what is kept is float32 on one device, whatever it was trained on
        model.set_weights(trained.get_weights())
    return Result(_copy(model, work, weights, mirror=True) if config.mirror else model, decisions)


def finish(work: Work, result: Result, run: Run, reporter: Reporter) -> None:
    """Predict every row, write model and predictions, and judge on the rows on which nothing was chosen."""
    import numpy as np

    from visrec.model import predict

    rows = work.samples["row"].to_numpy(np.int64)
    reporter.stage("predict", f"Predicting {len(rows):,} images.")
    chances = result.chances
    if chances is None:
        made = _engine(work, result.model)
        chances = made(features.Rows(work.data.images, rows), progress=lambda done: reporter.advance(done, len(rows)))
    run.write_table("predictions.parquet", predictions(work, chances))
    metrics = judged(work, chances)
    reporter.stage("export", "Writing the model.")
    forward = engine.frozen(result.model) if engine.backend() == "tensorflow" else None
    export.save(run, result.model, work.labels, work.config.fit, forward)
    if not run.has("model/saved_model.pb"):
        note = f"Keras ran on {engine.backend()}, which writes no SavedModel; `visrec export` makes one of model.keras."
        run.update(export_note=note)
        reporter.log(note)
    if work.engine == engine.OPENVINO:
        path = predict.engine_path(run.local("model.keras"), work.cache / "engines")
        predict.keep_converted(result.model, path, partial(engine.convert, forward=forward))
    reporter.advance(1, 1)
    run.update(metrics=metrics, decisions=result.decisions, seconds=reporter.closed_seconds())
    shown = headline({"metrics": metrics})
    if shown["split"] in SEEN_IN_TRAINING:
        run.update(warnings=[*run.record.get("warnings", []), FLATTERED])
        reporter.log(f"Warning: {FLATTERED}")
    reporter.log(
        f"Accuracy on {shown['split']}: {shown['value']:.3f} (95 % interval {shown['low']:.3f} to "
        f"{shown['high']:.3f}, n = {shown['n']:,})."
    )


def predictions(work: Work, chances: "np.ndarray") -> "pd.DataFrame":
    """The predictions table: file, split, label, prediction, ``score:<class>``, attributes."""
    import numpy as np
    import pandas as pd

    samples = work.samples
    names = np.array(work.labels, dtype=object)
    scores = {f"score:{label}": chances[:, i] for i, label in enumerate(work.labels)}
    table = pd.DataFrame({
        "file": samples["file"], "split": samples["split"], "label": samples["label"],
        "prediction": pd.Series(names[chances.argmax(1)], dtype="str"), **scores,
    })  # fmt: skip
    for name in work.attributes:
        table[name] = samples[name]
    return table


def judged(work: Work, chances: "np.ndarray") -> dict[str, Any]:
    """Accuracy, with interval and count, of each split, and which of them an audit takes: the headline's."""
    import numpy as np

    codes = np.array([work.labels.index(v) for v in work.samples["label"]])
    correct = chances.argmax(1) == codes
    known = {s: accuracy(correct[work.rows(s)]) for s in PREDICTED if len(work.rows(s)) or s in SEEN_IN_TRAINING}
    return {**{f"{split}_accuracy": found for split, found in known.items()}, "split": _judged_split(work)}


def _judged_split(work: Work) -> str:
    """Test, else val; where no image of either could be read, tune, else train: a figure still, if that is said."""
    there = [split for split in PREDICTED if len(work.rows(split))]
    unseen = [split for split in there if split not in SEEN_IN_TRAINING]
    return choose_split(unseen) or ("tune" if "tune" in there else "train")


def _features(work: Work, weights: Weights, taps: str, positions, reporter: Reporter):
    """Features of some samples, as a table with one row per sample (empty rows are never read), and the whole model."""
    import numpy as np

    rows = work.samples["row"].to_numpy(np.int64)[positions]
    reporter.stage("features", f"Running the backbone once over {len(rows):,} images.")
    whole = _model(work, weights, taps)
    model = mobilenet.feature_model(whole)
    made = _engine(work, model)
    key = features.fingerprint(model, work.fingerprint, rows, work.engine)
    table = features.compute(
        made, work.data.images, rows, work.cache / "features" / f"{key}.npy",
        progress=reporter.advance, stop=reporter.stop,
    )  # fmt: skip
    return table, whole


@dataclass(frozen=True)
class HeadData:
    """A feature table with the labels, weights and rows that belong to it."""

    table: "np.ndarray"
    labels: "np.ndarray"
    weights: "np.ndarray"
    train: "np.ndarray"
    tune: "np.ndarray"
    watch: Watch
    config: TrainConfig
    classes: int

    def choose(self, columns: slice, reporter: Reporter) -> tuple[float, float]:
        """The penalty for some features, and its loss on rows that were not fitted on."""
        return head.choose_penalty(
            self.table, self.labels, self.weights, (self.train, self.tune), self.classes, columns,
            self.config.epochs, self.config.seed, reporter.check,
        )  # fmt: skip

    def fit(self, columns: slice, penalty: float, reporter: Reporter) -> head.Head:
        """Fit, and write a row of history for each pass."""
        watched = self.tune if len(self.tune) else self.train

        def keep(step: int, fitted: head.Head) -> None:
            correct = fitted(self.table[watched, columns]).argmax(1) == self.labels[watched]
            row = {"stage": "head", "epoch": step, "loss": fitted.train_loss, "accuracy": fitted.train_accuracy}
            tuned = {"tune_loss": fitted.loss, "tune_accuracy": float(correct.mean())}
            reporter.epoch({**row, **tuned, **self.watch.accuracies(correct)}, write=False)

        found = head.fit(
            self.table, self.labels, self.weights, self.train, self.tune, classes=self.classes, columns=columns,
            epochs=self.config.epochs, penalty=penalty, watch=keep, check=reporter.check,
        )  # fmt: skip
        reporter.write_history()
        return found


def _head_data(work: Work, table) -> HeadData:
    """The rows of a feature table are the samples of the splits it was made for, in their order."""
    import numpy as np

    positions = work.rows(*(PREDICTED if len(table) == len(work.samples) else ("train", "tune")))
    rows = work.samples["row"].to_numpy(np.int64)[positions]
    split = work.samples["split"].to_numpy()[positions]
    train, tune = np.flatnonzero(split == "train"), np.flatnonzero(split == "tune")
    watch = Watch(work.samples.iloc[positions[tune if len(tune) else train]], work.config.by)
    labels, weights = work.data.labels[rows], work.data.weights[rows]
    return HeadData(table, labels, weights, train, tune, watch, work.config, len(work.labels))


def _model(work: Work, weights: Weights, taps: str, *, mirror: bool = False) -> "keras.Model":
    return mobilenet.build(
        work.config.image_size, len(work.labels), work.config.alpha, weights=weights, taps=taps, seed=work.config.seed,
        mirror=mirror,
    )  # fmt: skip


def _engine(work: Work, model: "keras.Model"):
    import tempfile

    folder = work.cache / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".once-") as scratch:
        return engine.for_model(model, Path(scratch) / "model.xml", engine=work.engine)


def _compute_of(run: Run) -> device.Compute:
    """Number format and GPUs by the rule, the format as this run began; kept in its lineage."""
    chosen = device.compute(run.record.get("lineage", {}).get("policy"))
    run.update(lineage={**run.record.get("lineage", {}), "policy": chosen.policy, "gpus": len(chosen.devices)})
    return chosen


def _copy(model: "keras.Model", work: Work, weights: Weights, *, mirror: bool = False) -> "keras.Model":
    made = _model(work, weights, "deep", mirror=mirror)
    made.set_weights(model.get_weights())
    return made


def _watch(work: Work, run: Run) -> Watch:
    rows = work.rows("tune") if len(work.data.tune) else work.rows("train")
    watch = Watch(work.samples.iloc[rows], work.config.by)
    run.update(watched=watch.counts)
    return watch
