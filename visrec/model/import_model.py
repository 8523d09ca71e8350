"""Imported models: a model of one's own becomes a run without training, to be audited and explained like any other.

Everything that can be wrong with the file, its classes or the bucket is told before a run is made. With a bucket, the
model answers for the rows that may be audited (``val`` and ``test``); whether it has seen them in its own training is
something that only its owner knows.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visrec.config import Settings, TrainConfig
from visrec.errors import InputError, RunError, VisrecError
from visrec.model import foreign
from visrec.model.mobilenet import MAX_SIZE, MIN_SIZE
from visrec.runs import jobs
from visrec.runs.record import Run, open_runs
from visrec.runs.reporter import Cancelled, Reporter
from visrec.runs.status import Status

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from visrec.model.train import Plan

SHARES = {"export": 0.1, "prepare": 0.3, "predict": 0.6}
SMALLEST, LARGEST = 8, 2048
"""Pixels of a side that `visrec.data.prepare` takes."""
BLOCK = 256
"""Images answered for between two looks at whether the user wants to stop."""

UNSEEN = "Whether the model was trained on these images, only its owner knows; if it was, the figures flatter it."


def import_model(
    path: Path,
    settings: Settings,
    labels: Sequence[str],
    *,
    scale: str = "0..255",
    size: int | None = None,
    logits: bool = False,
    bucket: str | None = None,
    target: str | None = None,
    by: Sequence[str] | None = None,
    name: str | None = None,
    report: Callable[[Status], None] | None = None,
    run_id: str | None = None,
) -> Run:
    """Keep a model as a run, and let it answer for a bucket's images.

    Parameters
    ----------
    path : ``.keras``, ``.h5`` or ``.tflite`` file, or a SavedModel folder
    labels : class names in the order of the outputs
    scale, size, logits : as in `visrec.model.foreign.open_foreign`
    bucket : whose val and test images it answers for; None = none
    target, by : column it predicts and attributes to watch; None = the bucket's own
    name : what the run is called; by default the file's name
    run_id : the run's id, from `visrec.runs.record.new_id`; None makes one

    Returns
    -------
    Run
        Of kind ``imported-model``, state done.

    Raises
    ------
    InputError
        Before a run is made, when file, classes and bucket do not go together.
    RunError
        When reading the images or answering failed.
    """
    from visrec.model.faults import sentence

    labels = [str(label) for label in labels]
    found = foreign.open_foreign(path, labels, scale=scale, size=size, logits=logits)
    planned = _planned(bucket, target, by, found.image_size, labels, settings) if bucket else None
    record = _record(path, labels, found, scale, logits, planned)
    run = open_runs(settings).create(record, name or path.stem, run_id)
    try:
        with Reporter(run, listen=report, explain=sentence, shares=SHARES, resumable=False) as reporter:
            reporter.use_stages(SHARES if planned else {"export": 1.0})
            reporter.stage("export", "Writing the model.")
            _keep(run, found, labels)
            if planned:
                _answer(run, planned, labels, settings, reporter)
            run.update(seconds=reporter.closed_seconds())
    except (Cancelled, KeyboardInterrupt):
        raise
    except Exception as error:
        if isinstance(error, RunError):
            raise
        told = str(error) if isinstance(error, VisrecError) else sentence(error)
        raise RunError(f"Run '{run.id}' failed: {told}") from error
    return run


def start(
    path: Path,
    settings: Settings,
    labels: Sequence[str],
    *,
    scale: str = "0..255",
    size: int | None = None,
    logits: bool = False,
    bucket: str | None = None,
    target: str | None = None,
    by: Sequence[str] | None = None,
    name: str | None = None,
    run_id: str | None = None,
) -> "subprocess.Popen":
    """`import_model` in a process of its own, so that a stranger's file is never opened by the web server.

    What it says goes to ``import.out`` (JSON) and ``import.err`` beside the file; the run shows its progress itself.
    """
    command = [sys.executable, "-m", "visrec", "import-model", str(path), f"--labels={','.join(labels)}"]
    command += [f"--scale={scale}", "--json", *(["--logits"] if logits else [])]
    given = {"size": size, "bucket": bucket, "target": target, "by": None if by is None else ",".join(by), "name": name}
    given["run-id"] = run_id
    command += [f"--{key}={value}" for key, value in given.items() if value is not None]
    with (path.parent / "import.out").open("wb") as out, (path.parent / "import.err").open("wb") as err:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            env=jobs.environment(settings, bucket),
        )  # fmt: skip


def _planned(bucket: str, target, by, size: int, labels: list[str], settings: Settings) -> "Plan":
    """The rows to answer for, once bucket and classes are known to agree."""
    from dataclasses import replace

    from visrec.model.train import plan

    watched = None if by is None else tuple(by)
    if not SMALLEST <= size <= LARGEST:
        raise InputError(
            f"The model takes images of {size} px; a bucket's images are made {SMALLEST} to {LARGEST} px. Import it "
            "without --bucket, and audit a table of its predictions."
        )
    # what MobileNetV2 takes does not bind another model: its size is put in once the rest of the plan is checked
    wanted = TrainConfig(
        bucket=bucket, target=target, by=watched, image_size=min(max(size, MIN_SIZE), MAX_SIZE), weights="none",
        sample_weights="none",
    )  # fmt: skip
    planned = plan(wanted, settings)
    samples = planned.samples[planned.samples["split"].isin(["val", "test"])].reset_index(drop=True)
    if samples.empty:
        raise InputError(f"The bucket '{bucket}' has no val or test images to judge the model by.")
    unknown = sorted(set(samples["label"]) - set(labels))
    if unknown:
        raise InputError(
            f"The bucket's column '{planned.config.target}' has the classes {', '.join(unknown)}, which are not among "
            f"the model's: {', '.join(labels)}. Give --labels as the bucket writes them, or another --target."
        )
    return replace(planned, samples=samples, config=replace(planned.config, image_size=size))


def _record(path: Path, labels: list[str], found, scale: str, logits: bool, planned) -> dict[str, Any]:
    settings = {"model": path.name, "scale": scale, "logits": logits, "image_size": found.image_size}
    record = {
        "kind": "imported-model", "bucket": "", "target": "", "by": [], "attributes": [], "labels": labels,
        "image_size": found.image_size, "warnings": [], "weights_note": f"The model of {path.name}.",
    }  # fmt: skip
    if found.tflite is not None:
        record["tflite"] = {"scale": scale, "logits": logits, "size": found.image_size}
    if planned:
        config = planned.config
        settings |= {"bucket": config.bucket, "target": config.target, "by": list(config.by), "fit": config.fit}
        record |= {
            "bucket": config.bucket, "bucket_url": planned.store.url, "target": config.target, "by": list(config.by),
            "attributes": planned.attributes, "layout": planned.table.layout, "repairs": list(planned.table.repairs),
            "warnings": [UNSEEN],
        }  # fmt: skip
    return {**record, "settings": settings}


def _keep(run: Run, found: foreign.Foreign, labels: list[str]) -> None:
    from visrec.model import export

    if found.model is not None:
        export.save(run, found.model, labels, run.fit)
        return
    run.store.write("model.tflite", found.tflite)
    run.store.write(export.LABELS, ("\n".join(labels) + "\n").encode())


def _answer(run: Run, planned: "Plan", labels: list[str], settings: Settings, reporter: Reporter) -> None:
    """Predict the planned rows, and judge as a training does."""
    from visrec.data.prepare import prepare
    from visrec.model import device, lineage
    from visrec.model.predict import load_predictor

    config = planned.config
    reporter.stage("prepare", f"Reading and resizing {len(planned.samples):,} images to {config.image_size} px.")
    prepared = prepare(
        planned.store, planned.samples, config.image_size, settings.cache, fit=run.fit,
        objects=planned.table.objects, progress=reporter.advance, stop=reporter.stop,
    )  # fmt: skip
    reporter.check()
    good = prepared.samples["status"] == "ok"
    samples = prepared.samples[good].reset_index(drop=True)
    if samples.empty:
        raise InputError("None of the bucket's val and test images can be read; `visrec inspect` names what is wrong.")
    reporter.stage("predict", f"Predicting {len(samples):,} images.")
    predictor = load_predictor(run, device_busy=jobs.is_training(settings), cache=settings.cache / "engines")
    chances = _chances(predictor, prepared.images, samples["row"].to_numpy("int64"), reporter)
    run.write_table("predictions.parquet", _table(samples, labels, planned.attributes, chances))
    metrics, warning = _judged(samples, labels, chances)
    aside = prepared.samples.loc[~good, "status"].value_counts()
    run.update(
        metrics=metrics,
        warnings=[UNSEEN, *([warning] if warning else [])],
        samples={str(k): int(v) for k, v in samples["split"].value_counts().items()},
        set_aside={str(k): int(v) for k, v in aside.items()},
        lineage=lineage.describe(
            data=prepared.fingerprint, samples=samples, seed=config.seed, device=device.make_ready(),
            engine=predictor.engine, cores=device.cores(),
        ),
    )  # fmt: skip


def _chances(predictor, images: "np.ndarray", rows: "np.ndarray", reporter: Reporter) -> "np.ndarray":
    import numpy as np

    chances = np.empty((len(rows), len(predictor.labels)), np.float32)
    for at in range(0, len(rows), BLOCK):
        part = slice(at, at + BLOCK)
        chances[part] = predictor(images[rows[part]])
        reporter.advance(min(at + BLOCK, len(rows)), len(rows))
    if not np.isfinite(chances).all() or np.abs(chances.sum(axis=1) - 1).max() > 0.05:
        raise InputError(
            "On the bucket's images the outputs are not probabilities. Look again at --scale, and at --logits if the "
            "model has no softmax or sigmoid at its end."
        )
    return chances


def _table(samples: "pd.DataFrame", labels: list[str], attributes: list[str], chances) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    answers = np.array(labels, dtype=object)[chances.argmax(1)]
    scores = {f"score:{label}": chances[:, i] for i, label in enumerate(labels)}
    return pd.DataFrame({
        "file": samples["file"], "split": samples["split"], "label": samples["label"],
        "prediction": pd.Series(answers, dtype="str"), **scores, **{name: samples[name] for name in attributes},
    })  # fmt: skip


def _judged(samples: "pd.DataFrame", labels: list[str], chances) -> tuple[dict[str, Any], str]:
    """Accuracy on the rows that an audit takes, and a warning when always giving one answer does as well."""
    import numpy as np

    from visrec.audit.splits import choose_split
    from visrec.model.watch import accuracy

    split = choose_split(samples["split"].unique())
    rows = samples["split"].to_numpy() == split
    truth = samples["label"].to_numpy()[rows]
    found = accuracy(np.array(labels, dtype=object)[chances.argmax(1)][rows] == truth)
    shares = samples.loc[rows, "label"].value_counts(normalize=True)
    warning = ""
    if found["value"] <= shares.iloc[0]:
        warning = (
            f"The accuracy, {found['value']:.3f}, is no better than always answering '{shares.index[0]}' "
            f"({shares.iloc[0]:.3f}). Check the order of --labels, and --scale: which pixel range was it trained on?"
        )
    return {f"{split}_accuracy": found, "split": split}, warning
