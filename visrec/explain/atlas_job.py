"""Making a run's atlas as a job: minutes of work that a page starts, follows and stops, as it does a training.

The job has its own status, log and cancel request, in a folder of the run; whoever wants to know how far it is reads
`job_of(run, by).status()`, and stops it with `visrec.runs.jobs.cancel(job_of(run, by))`.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from visrec.errors import InputError, NotFoundError
from visrec.explain.atlas import GRID, Atlas, make_atlas, pick_rows, save_atlas
from visrec.explain.pixels import read_pixels
from visrec.runs import jobs
from visrec.runs.record import Run
from visrec.runs.reporter import Reporter
from visrec.runs.status import ACTIVE, Status

if TYPE_CHECKING:
    from visrec.config import Settings

SHARES = {"read": 0.05, "explain": 0.9, "compare": 0.05}


def job_of(run: Run, by: list[str]) -> Run:
    """The job that makes an atlas, as a small run inside the run: it has a status, a log and can be cancelled."""
    name = "+".join(quote(attribute, safe="") for attribute in by)
    return Run(run.id, run.store.sub(f"explanations/jobs/atlas-{name}"), run._fetched / "atlas")


def start(run: Run, settings: "Settings", by: list[str], *, per_cell: int = 60, seed: int = 0) -> Run:
    """Make the atlas in a process of its own and return at once; the job, in state *queued* or *running*."""
    choose(run, by, per_cell=per_cell, seed=seed)  # here, where whoever asked still hears what is missing
    job = job_of(run, by)
    if job.store.exists("status.json") and job.status().state in ACTIVE:
        return job
    job.store.delete("cancel.json")
    job.write_status(_queued())
    command = ["atlas", run.id, "--by", ",".join(by), "--images", str(per_cell), "--seed", str(seed)]
    subprocess.Popen(
        [sys.executable, "-m", "visrec", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env=jobs.environment(settings, run.record.get("bucket")),
    )  # fmt: skip
    return job


def make(
    run: Run,
    settings: "Settings",
    by: list[str],
    *,
    split: str | None = None,
    per_cell: int = 60,
    grid: int = GRID,
    seed: int = 0,
    permutations: int | None = None,
    report: Callable[[Status], None] | None = None,
    predict=None,
) -> Atlas:
    """Make the atlas of a run in this process, keep it in the run, and report on the job.

    Parameters
    ----------
    by : attributes whose crossing makes the cells
    split : rows to take images from; None = test, else val
    per_cell : images of each cell at most, a seeded sample
    report : called with each new Status
    predict : the model; None = the run's
    """
    split, chosen = choose(run, by, split=split, per_cell=per_cell, seed=seed)
    with Reporter(job_of(run, by), listen=report, shares=SHARES, resumable=False) as reporter:
        reporter.stage("read", f"Reading {len(chosen):,} images.")
        predict = predict or _predictor(run, settings)
        images, chosen = _read(run, settings, chosen, predict.image_size, reporter)
        reporter.stage("explain", f"Explaining {len(chosen):,} images.")
        atlas = make_atlas(
            images, chosen[["file", "label", *by]], predict, by, classes=run.labels(), grid=grid, seed=seed,
            permutations=permutations, progress=reporter.advance, stop=reporter.stop,
        )  # fmt: skip
        atlas.settings.update(split=split, per_cell=per_cell)
        reporter.stage("compare", "Keeping the atlas.")
        save_atlas(run, atlas)
    return atlas


def choose(run: Run, by: list[str], *, split: str | None = None, per_cell: int = 60, seed: int = 0):
    """The split and the rows of the images to explain; says, before anything is begun, what is missing."""
    check(run, by)
    rows = run.predictions()
    split = split or next((s for s in ("test", "val") if (rows["split"] == s).any()), "val")
    return split, pick_rows(rows, by, split=split, per_cell=per_cell, seed=seed)


def check(run: Run, by: list[str]) -> None:
    """Say, before anything is begun, what is missing."""
    if not by:
        known = ", ".join(run.record.get("attributes", [])) or "none"
        raise InputError(f"An atlas compares the values of an attribute, and none was named. There are: {known}.")
    if not (run.has("model.keras") or run.has("model.tflite")):
        raise NotFoundError(f"Run '{run.id}' has no model to ask (it is {run.status().state}); train one first.")


def _read(run: Run, settings: "Settings", chosen, size: int, reporter: Reporter):
    from visrec.storage.buckets import open_bucket

    store = open_bucket(run.record["bucket"], settings)
    names, parts = [], []
    for files, pixels in read_pixels(
        store, chosen["file"].tolist(), size, fit=run.fit, progress=reporter.advance, stop=reporter.stop
    ):  # fmt: skip
        names += files
        parts.append(pixels)
    if not names:
        raise NotFoundError(f"None of the images of run '{run.id}' can be read from its bucket any more.")
    places = {file: i for i, file in enumerate(names)}
    kept = chosen[chosen["file"].isin(names)]  # in the table's order: arrival differs from time to time
    return np.concatenate(parts)[[places[f] for f in kept["file"]]], kept


def _predictor(run: Run, settings: "Settings"):
    from visrec.model.predict import load_predictor

    return load_predictor(run, device_busy=jobs.is_training(settings))


def _queued() -> Status:
    import time

    now = time.time()
    return Status("queued", heartbeat=now, started=now, message="Its process is starting.")
