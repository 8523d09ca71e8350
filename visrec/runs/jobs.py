"""Jobs: a training as a process of its own, which outlives the page, the browser and the server that began it.

`start` writes the run's folder and lets ``python -m visrec train --run-id ID`` go; whoever wants to know how it is
going reads the run's status. `cancel` asks by a file beside the status, which works through a bucket as well, and on
the same machine also by a signal. Secrets travel in the environment of the process, never in its arguments.
"""

import dataclasses
import os
import secrets
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError
from visrec.runs import process, queue
from visrec.runs.record import Run, open_runs
from visrec.runs.status import ACTIVE, Status
from visrec.storage.lock import file_lock

if TYPE_CHECKING:
    from visrec.config import Settings, TrainConfig

PATIENCE_SECONDS = 1.5
"""Between asking a process to end and killing it; together with the poll this keeps a cancel under 2 s."""


def new_run(config: "TrainConfig", settings: "Settings", name: str | None = None) -> Run:
    """The folder of a run that has not begun: its settings and the state *queued*."""
    record = {"kind": "trained", "bucket": config.bucket, "target": config.target, "settings": asdict(config)}
    run = open_runs(settings).create(record, name)
    run.write_status(_queued("Its process is starting."))
    return run


def start(config: "TrainConfig", settings: "Settings", run: Run | None = None, name: str | None = None) -> Run:
    """Train in a process of its own, and return at once.

    Parameters
    ----------
    run : go on with this run instead of making a new one

    Returns
    -------
    Run
        In state *queued*; it runs when no other training has this machine.
    """
    return launch(run or new_run(config, settings, name), settings)


def launch(run: Run, settings: "Settings") -> Run:
    """Let the process of a run begin; it reads its settings from ``run.json``."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    output = run.store.local_path("run.log") or settings.cache / f"{run.id}.log"
    attempt = run.written_status().attempt
    with output.open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "visrec", "train", "--run-id", run.id, "--attempt", attempt],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=environment(settings, run.record.get("bucket")),
        )  # fmt: skip
    _note_process(run, started.pid, attempt)
    return run


def _note_process(run: Run, pid: int, attempt: str) -> None:
    """Say which process it will be, before it can say so itself: on a busy machine its imports take a while."""
    status = run.status()
    if status.state == "queued" and status.pid is None and status.attempt == attempt:
        began, host = process.started_at(pid), process.host()
        run.write_status(
            dataclasses.replace(status, pid=pid, process_start=began, host=host, owns_process=True)
        )  # fmt: skip


def environment(settings: "Settings", *buckets: str | None) -> dict[str, str]:
    """The environment of a process that works on these buckets: ours, with these settings spelled out.

    Of the named connections it holds only those that the buckets and the runs go by. What the settings leave open is
    emptied, lest a variable of ours, or a ``.env`` file, lead the process to another store.
    """
    from visrec.connections import PREFIX, named_in

    s3 = settings.s3
    needed = named_in([settings.runs, *buckets])
    given = {
        "VISREC_BUCKETS": os.pathsep.join(str(p.absolute()) for p in settings.buckets),
        "VISREC_RUNS": settings.runs if "://" in settings.runs else os.path.abspath(settings.runs),
        "VISREC_CACHE": str(settings.cache.absolute()),
        "VISREC_QUEUE": str(queue_folder(settings).absolute()),
        "VISREC_SLOTS": str(settings.slots),
        "BUCKET": s3.bucket or "",
        "ACCESS_KEY_ID": s3.access_key_id or "",
        "SECRET_ACCESS_KEY": s3.secret_access_key or "",
        "ENDPOINT_URL": s3.endpoint_url or "",
        "REGION": s3.region or "",
        "S3_ADDRESSING_STYLE": s3.addressing_style or "",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        **({"KERAS_HOME": str(settings.keras_home)} if settings.keras_home else {}),
        **({"AWS_CA_BUNDLE": s3.ca_bundle} if s3.ca_bundle else {}),
    }
    for connection in settings.connections:
        if connection.name in needed:
            given |= connection.variables()
    return {**{k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}, **given}


def cancel(run: Run, *, patience: float = PATIENCE_SECONDS) -> Status:
    """Ask a run to stop; on this machine its process is ended if it does not.

    Returns
    -------
    Status
        *cancelled*, or *cancelling* when its process is elsewhere and has not answered yet.
    """
    status = run.status()
    if status.state not in ACTIVE:
        raise InputError(f"Run '{run.id}' is {status.state}; only a run that is queued or running can be cancelled.")
    run.write_json("cancel.json", {"asked": time.time()})
    if status.pid is not None and status.owns_process and status.host == process.host():
        process.end(status.pid, status.process_start, patience=patience)
        settle(run)
    return run.status()


def settle(run: Run) -> Status:
    """Write down a state that was only derived (*lost*, or *cancelled* by a kill), so that it stays."""
    status = run.status()
    if status.state in ("lost", "cancelled"):
        run.write_status(dataclasses.replace(status, pid=None))
        run.store.delete("cancel.json")
    return status


def resume(run: Run, settings: "Settings") -> Run:
    """Go on with a run that was cancelled, lost or has failed, from its last checkpoint, in a new process."""
    claim(run, settings)
    return launch(run, settings)


def claim(run: Run, settings: "Settings") -> str:
    """Put a run that has stopped back in the queue, for one process alone; of two who ask at once one is refused.

    Returns
    -------
    str
        The attempt that this process must name. Who resumes it on another machine at the same moment writes another
        one, and the process that does not find its own leaves the run alone (`visrec.runs.reporter`).
    """
    settings.cache.mkdir(parents=True, exist_ok=True)
    with file_lock(settings.cache / "resume.lock"):
        check_resumable(run)
        return prepare_resume(run)


def check_resumable(run: Run) -> None:
    """Raise ``InputError`` when there is nothing to go on with."""
    state = run.status().state
    if state in ACTIVE:
        raise InputError(f"Run '{run.id}' is {state}; it needs no resuming.")
    if state == "done":
        raise InputError(f"Run '{run.id}' is done; start a new run with other settings instead.")
    if run.record.get("kind") != "trained":
        raise InputError(f"Run '{run.id}' was imported, not trained here; there is nothing to resume.")


def prepare_resume(run: Run) -> str:
    """Put a finished run back in the queue; the attempt that it now is."""
    run.store.delete("cancel.json")
    run.update(resumed=run.record.get("resumed", 0) + 1)
    status = _queued("Its process is starting again.")
    run.write_status(status)
    return status.attempt


def _queued(message: str) -> Status:
    now = time.time()
    return Status("queued", heartbeat=now, started=now, message=message, attempt=secrets.token_hex(8))


def queue_folder(settings: "Settings") -> Path:
    """Where the tickets for this machine's device lie (`visrec.runs.queue`).

    It is one folder per user and device, so that two dashboards with caches of their own do not train at once on the
    same cores; a folder that another user made in its place is not trusted, and the cache serves instead.
    """
    folder = settings.queue or settings.cache / "queue"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = folder.stat().st_uid == os.getuid()
    except OSError:
        mine = False
    return folder if mine else settings.cache / "queue"


def training_ids(settings: "Settings") -> list[str]:
    """Ids of the runs that train or wait on this machine, in order."""
    return queue.run_ids(queue_folder(settings))


def is_training(settings: "Settings") -> bool:
    """Whether a training has this machine now; explanations then leave the GPU alone."""
    return bool(training_ids(settings))


def follow(run: Run, *, poll: float = 0.5, listen=None, sleep=time.sleep) -> Status:
    """Wait until a run is finished; ``listen`` gets each new status."""
    last = None
    while True:
        status = run.status()
        if listen and status != last:
            listen(status)
            last = status
        if status.finished:
            return status
        sleep(poll)


def config_of(run: Run) -> "TrainConfig":
    """The settings a run was started with, as its record keeps them."""
    from visrec.config import TrainConfig

    known = {f.name for f in dataclasses.fields(TrainConfig)}
    values = {k: v for k, v in run.record["settings"].items() if k in known}
    if values.get("by") is not None:
        values["by"] = tuple(values["by"])
    return TrainConfig(**values)
