"""Making a run's atlas as a job: minutes of work that a page starts, follows and stops, as it does a training.

The job has its own status, log and cancel request, in a folder of the run; whoever wants to know how far it is reads
`job_of(run, by).status()`, and stops it with `visrec.runs.jobs.cancel(job_of(run, by))`.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from visrec.audit.splits import judged_split
from visrec.errors import InputError, NotFoundError
from visrec.explain.atlas import GRID, Atlas, grid_segments, in_order, make_atlas, pick_rows, save_atlas
from visrec.explain.pixels import read_pixels
from visrec.runs import jobs, process
from visrec.runs.record import Run
from visrec.runs.reporter import Reporter
from visrec.runs.status import ACTIVE, Status
from visrec.storage.lock import file_lock

if TYPE_CHECKING:
    from visrec.config import Settings

SHARES = {"read": 0.05, "explain": 0.9, "compare": 0.05}


def job_of(run: Run, by: list[str]) -> Run:
    """The job that makes an atlas, as a small run inside the run: it has a status, a log and can be cancelled."""
    name = "+".join(quote(attribute, safe="") for attribute in in_order(by))
    return Run(run.id, run.store.sub(f"explanations/jobs/atlas-{name}"), run._fetched / "atlas")


def start(run: Run, settings: "Settings", by: list[str], *, per_cell: int = 60, seed: int = 0) -> Run:
    """Make the atlas in a process of its own and return at once; the job, in state *queued* or *running*."""
    choose(run, by, per_cell=per_cell, seed=seed)  # here, where whoever asked still hears what is missing
    job = job_of(run, by)
    with _alone(settings):
        if _is_active(job):
            return job
        job.store.delete("cancel.json")
        output = job.store.local_path("run.log") or settings.cache / f"{run.id}-atlas.log"
        output.parent.mkdir(parents=True, exist_ok=True)
        command = ["atlas", run.id, "--by", ",".join(by), "--images", str(per_cell), "--seed", str(seed)]
        with output.open("ab") as log:
            before = log.tell()
            child = subprocess.Popen(
                [sys.executable, "-m", "visrec", *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
                env=jobs.environment(settings, run.record.get("bucket")),
            )  # fmt: skip
        job.write_status(_queued(child.pid, "Its process is starting."))
    threading.Thread(
        target=_say_how_it_ended, args=(child, job, output, before), name="visrec-atlas", daemon=True
    ).start()
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
    by = in_order(by)
    split, chosen = choose(run, by, split=split, per_cell=per_cell, seed=seed)
    job = job_of(run, by)
    _claim(job, settings, by)
    with Reporter(job, listen=report, shares=SHARES, resumable=False) as reporter:
        reporter.stage("read", f"Reading {len(chosen):,} images.")
        predict = predict or _predictor(run, settings)
        grid_segments(predict.image_size, predict.image_size, grid)  # refuses what does not fit before any work
        images, readable = _read(run, settings, chosen, predict.image_size, reporter)
        reporter.stage("explain", f"Explaining {len(readable):,} images.")

        def comparing(done: int, total: int) -> None:
            if reporter.status.stage != "compare":
                reporter.stage("compare", "Comparing the groups.")
            reporter.advance(done, total)

        atlas = make_atlas(
            images, readable[["file", "label", *by]], predict, by, classes=run.labels(), grid=grid, seed=seed,
            permutations=permutations, progress=reporter.advance, comparing=comparing, stop=reporter.stop,
        )  # fmt: skip
        left_out = {"no_value": _without_value(run, by, split), "unreadable": len(chosen) - len(readable)}
        made = {**atlas.settings, "split": split, "per_cell": per_cell}
        atlas = dataclasses.replace(atlas, settings=made, images_left_out=left_out)
        save_atlas(run, atlas)
    return atlas


def choose(run: Run, by: list[str], *, split: str | None = None, per_cell: int = 60, seed: int = 0):
    """The split and the rows of the images to explain; says, before anything is begun, what is missing."""
    check(run, by)
    rows = run.predictions()
    split = split or judged_split(rows["split"])
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


def _without_value(run: Run, by: list[str], split: str) -> int:
    """Images of the split that belong to no cell, because a value of an attribute is missing."""
    rows = run.predictions()
    return int(rows.loc[rows["split"] == split, by].isna().any(axis=1).sum())


@contextlib.contextmanager
def _alone(settings: "Settings") -> Iterator[None]:
    """No two on this machine look at a job and begin it at the same time."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    with file_lock(settings.cache / "atlas.lock"):
        yield


def _claim(job: Run, settings: "Settings", by: list[str]) -> None:
    """Take the job for this process; ``InputError`` when another one is at it."""
    with _alone(settings):
        if _is_active(job):
            status = job.status()
            if status.pid == os.getpid() and status.host == process.host() and not status.stage:
                return  # `start` has written it for this process; a request to cancel since then holds
            raise InputError(
                f"The atlas of run '{job.id}' by {', '.join(by)} is being made already, by process {status.pid} on "
                f"{status.host or 'an unknown machine'} ({status.progress:.0%}). Wait until it ends, or cancel it on "
                "the Atlas page."
            )
        job.store.delete("cancel.json")  # of an earlier job: it would end this one
        job.write_status(_queued(os.getpid(), "Starting.", owns_process=False))


def _is_active(job: Run) -> bool:
    return job.store.exists("status.json") and job.status().state in ACTIVE


def _queued(pid: int, message: str, *, owns_process: bool = True) -> Status:
    now = time.time()
    return Status(
        "queued", heartbeat=now, started=now, message=message, resumable=False, pid=pid, host=process.host(),
        process_start=process.started_at(pid), owns_process=owns_process,
    )  # fmt: skip


def _say_how_it_ended(child: subprocess.Popen, job: Run, output: Path, before: int) -> None:
    """Wait for the process; one that ended before it could tell why has said so in its log."""
    code = child.wait()
    if code and job.status().state == "lost":
        why = _last_words(output, before) or f"Its process ended with code {code}; see {output.name}."
        now = time.time()
        job.write_status(dataclasses.replace(
            job.status(), state="failed", message=why, error=why, finished_at=now, heartbeat=now, pid=None,
        ))  # fmt: skip


def _last_words(output: Path, before: int) -> str:
    """The last sentence of the command line in a log, after so many bytes of earlier attempts; empty without one."""
    try:
        lines = output.read_bytes()[before:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith("visrec: ")]
    return said[-1].removeprefix("visrec: ") if said else ""
