"""The record of a run: the folder in which everything about one training lies.

A run is named by its id, which sorts by time; a user may also call it by its name or the start of its id.
All writing goes through a Store, so that a run in a bucket is the same thing as one in a folder.
"""

import io
import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visrec.errors import InputError, NotFoundError, VisrecError, nearest
from visrec.runs import process, silence
from visrec.runs.status import ACTIVE, Status, derive
from visrec.storage.base import Store

if TYPE_CHECKING:
    import pandas as pd

    from visrec.config import Settings

KINDS = ("trained", "imported-table", "imported-model")
TITLE = "title.json"
"""Name and note, as people change them: the training process writes the record itself, and neither undoes the other."""


class Run:
    """One run: its record, status, history, log, model and predictions.

    Parameters
    ----------
    run_id : name of its folder
    store : rooted at that folder
    fetched : folder for local copies of what lies in a remote store
    """

    def __init__(self, run_id: str, store: Store, fetched: Path):
        self.id = run_id
        self.store = store
        self._fetched = fetched

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    @property
    def record(self) -> dict[str, Any]:
        """``run.json``: settings, decisions, lineage and, at the end, metrics; with the name and note given since."""
        return {**self._json("run.json"), **self._title()}

    @property
    def name(self) -> str:
        """What the user calls it; its id if nothing else was given."""
        return self.record.get("name") or self.id

    def update(self, **values: Any) -> dict[str, Any]:
        """Write some keys of the record anew; the others stay."""
        record = {**self._json("run.json"), **values}
        self.write_json("run.json", record)
        return record

    def entitle(self, **values: str) -> None:
        """Give another name or note; the record is left to the process that trains."""
        self.write_json(TITLE, {**self._title(), **values})

    def _title(self) -> dict[str, Any]:
        try:
            return self._json(TITLE)
        except NotFoundError:
            return {}

    def status(self, now: float | None = None) -> Status:
        """Where it stands; *lost* and *cancelling* are derived here (`visrec.runs.status`)."""
        try:
            status = self.written_status()
        except NotFoundError:
            return Status("failed", message="It has no status: its folder is incomplete.", error="no status.json")
        except InputError as error:
            return Status("failed", message=str(error), error=str(error))
        if status.state not in ACTIVE:
            return status
        now, seen = time.time() if now is None else now, _alive(status)
        silent = silence.seconds(self.store, status, now) if seen is None else None
        derived = derive(status, now=now, cancel_asked=self.cancel_asked(), alive=lambda _: seen, silent=silent)
        if derived.state == "lost":  # it may have ended well between the two looks
            return again if (again := self.written_status()).finished else derived
        return derived

    def written_status(self) -> Status:
        """``status.json`` as it stands, nothing derived; raises ``InputError`` when it is missing or damaged."""
        return Status.from_json(self._json("status.json"))

    def write_status(self, status: Status) -> None:
        """Write ``status.json``, whole or not at all."""
        self.write_json("status.json", status.to_json())

    def cancel_asked(self) -> bool:
        """Whether somebody asked this run to stop."""
        return self.store.exists("cancel.json")

    def history(self) -> "pd.DataFrame":
        """``history.csv``, one row per epoch; empty before the first."""
        import pandas as pd

        if not self.has("history.csv"):
            return pd.DataFrame({"stage": [], "epoch": []})
        return pd.read_csv(io.BytesIO(self.store.read("history.csv")))

    def predictions(self) -> "pd.DataFrame":
        """``predictions.parquet``: file, split, label, prediction, ``score:<class>``, attributes."""
        import pandas as pd

        if not self.has("predictions.parquet"):
            state = self.status().state
            if state == "done" and self.record.get("kind") == "imported-model":
                raise NotFoundError(
                    f"Run '{self.id}' is a model that was imported without a bucket, so it has no predictions. "
                    "Import it again with --bucket BUCKET to audit it."
                )
            raise NotFoundError(
                f"Run '{self.id}' has no predictions yet (it is {state}); they are written near its end."
            )
        return pd.read_parquet(io.BytesIO(self.store.read("predictions.parquet")))

    def log(self, lines: int | None = 200) -> str:
        """The last lines of ``run.log``."""
        if not self.has("run.log"):
            return ""
        text = self.store.read("run.log").decode(errors="replace")
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    def labels(self) -> list[str]:
        """The classes, in the order of the model's outputs."""
        if labels := self.record.get("labels"):
            return list(labels)
        raise NotFoundError(f"Run '{self.id}' has no class names yet; they are known once its data are read.")

    @property
    def fit(self) -> str:
        """How the run's model is shown a rectangle: ``stretch``, ``crop`` or ``pad``."""
        return (self.record.get("settings") or {}).get("fit") or "stretch"

    def has(self, name: str) -> bool:
        """Whether a file, or a folder, of that name is there."""
        return self.store.exists(name) or any(True for _ in self.store.list(name + "/"))

    def local(self, name: str) -> Path:
        """A path on this machine for a file or folder of the run; fetched once from a remote store.

        Raises ``NotFoundError`` if the run has nothing of that name.
        """
        if path := self.store.local_path(name):
            if path.exists():
                return path
            raise NotFoundError(f"Run '{self.id}' has no '{name}' (it is {self.status().state}).")
        return self._fetch(name)

    def _fetch(self, name: str) -> Path:
        found = [o for o in self.store.list(name) if o.key == name or o.key.startswith(name + "/")]
        if not found:
            raise NotFoundError(f"Run '{self.id}' has no '{name}' (it is {self.status().state}).")
        for info in found:
            target, mark = self._fetched / info.key, self._fetched / (info.key + ".etag")
            if target.is_file() and mark.is_file() and mark.read_text() == info.etag:
                continue
            write_atomic(target, self.store.read(info.key))
            write_atomic(mark, info.etag.encode())
        return self._fetched / name

    def put_folder(self, folder: Path, name: str, last: str | None = None) -> None:
        """Copy a local folder into the run, ``last`` at the end so that its presence means "complete"."""
        files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == last)
        for path in files:
            self.store.write(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON document of the run, atomically."""
        text = json.dumps(value, ensure_ascii=False, indent=1, default=_plain)
        self.store.write(name, text.encode())

    def write_table(self, name: str, table: "pd.DataFrame") -> None:
        """Write a Parquet or CSV table of the run, atomically, by the name's ending."""
        buffer = io.BytesIO()
        if name.endswith(".parquet"):
            table.to_parquet(buffer, index=False)
        else:
            table.to_csv(buffer, index=False)
        self.store.write(name, buffer.getvalue())

    def _json(self, name: str) -> dict[str, Any]:
        data = self.store.read(name)
        try:
            found = json.loads(data)
        except ValueError as error:  # no JSON, or no text at all
            raise InputError(
                f"{name} of run '{self.id}' is not JSON ({error}); restore it or delete the run."
            ) from None
        if not isinstance(found, dict):
            raise InputError(f"{name} of run '{self.id}' holds no object; restore it or delete the run.")
        return found


class Runs:
    """All runs under one folder or bucket prefix.

    Parameters
    ----------
    store : rooted where the run folders lie
    cache : folder for local copies of remote runs
    """

    def __init__(self, store: Store, cache: Path):
        self.store = store
        self._cache = cache

    def ids(self) -> list[str]:
        """The ids, newest first; reads names only."""
        root = self.store.local_path("run.json")  # a folder: look one level deep, not at every file of every run
        if root is not None:
            found = (p.parent.name for p in root.parent.glob("*/run.json")) if root.parent.is_dir() else ()
        else:
            keys = (o.key for o in self.store.list())
            found = (k.split("/")[0] for k in keys if k.endswith("/run.json") and k.count("/") == 1)
        return sorted(found, reverse=True)

    def list(self) -> list[Run]:
        """Every run, newest first; reads no record and no predictions."""
        return [self._run(run_id) for run_id in self.ids()]

    def open(self, run_id: str) -> Run:
        """The run of that id, name, start of an id, or ``latest``.

        Raises ``NotFoundError`` naming the nearest, ``InputError`` when several are meant.
        """
        ids = self.ids()
        if run_id in ids:
            return self._run(run_id)
        if run_id == "latest" and ids:
            return self._run(ids[0])
        names = {i: self._name(i) for i in ids}
        meant = [i for i in ids if run_id and (names[i] == run_id or i.startswith(run_id))]
        if len(meant) == 1:
            return self._run(meant[0])
        if meant:
            raise InputError(f"'{run_id}' could be any of these runs: {', '.join(meant)}. Give the whole id.")
        known = [*ids, *(n for i, n in names.items() if n != i)]
        raise NotFoundError(f"There is no run '{run_id}'. {nearest(run_id, known)}")

    def _name(self, run_id: str) -> str:
        try:
            return self._run(run_id).name
        except VisrecError:  # deleted since, or not to be read: that must not keep the others from being found
            return run_id

    def create(self, record: dict[str, Any], name: str | None = None, run_id: str | None = None) -> Run:
        """Make a new run; ``record`` needs a ``kind``, its id (given by `new_id`), name and time are added."""
        if record.get("kind") not in KINDS:
            raise InputError(f"A run's kind is one of {', '.join(KINDS)}; got {record.get('kind')!r}.")
        now = datetime.now(UTC)
        if run_id and not (_ID.fullmatch(run_id) and run_id not in self.ids()):
            raise InputError(f"'{run_id}' cannot be the id of a new run; expected one of `new_id`, not used before.")
        run = self._run(run_id or new_id(now))
        full = {"id": run.id, "name": name or _default_name(record, now), "created": now.isoformat(timespec="seconds")}
        run.write_json("run.json", {**full, **record})
        return run

    def delete(self, run: Run) -> None:
        """Remove a run for good; ``run.json`` goes first, so that an interrupted delete leaves no half run."""
        if run.status().state in ACTIVE:
            raise InputError(f"Run '{run.id}' is {run.status().state}; cancel it first, then delete it.")
        run.store.delete("run.json")
        for info in list(run.store.list()):
            run.store.delete(info.key)
        if (path := run.store.local_path("run.json")) is not None:
            shutil.rmtree(path.parent, ignore_errors=True)  # with what a killed process left half-written
        shutil.rmtree(run._fetched, ignore_errors=True)  # copies of a remote run's files

    def _run(self, run_id: str) -> Run:
        return Run(run_id, self.store.sub(run_id), self._cache / run_id)


_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4,8}")


def new_id(now: datetime | None = None) -> str:
    """An id for a run to come; ids sort by time.

    >>> bool(_ID.fullmatch(new_id()))
    True
    """
    return f"{now or datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def open_runs(settings: "Settings") -> Runs:
    """The runs under ``settings.runs``, a folder (made if need be) or an ``s3://`` URL."""
    from visrec.storage.buckets import open_store

    return Runs(open_store(settings.runs, settings, create=True), settings.cache / "runs")


def headline(record: Mapping[str, Any]) -> dict[str, Any]:
    """The accuracy that a run is known by: value (0..1; 1 = all right), low, high, n and split; empty without one.

    It is that of the rows that an audit takes (`visrec.audit.splits`), under a key that names their split; records of
    earlier versions kept it as ``val_accuracy`` whatever the split.

    >>> headline({"metrics": {"test_accuracy": {"value": 0.8}, "split": "test"}})
    {'value': 0.8, 'split': 'test'}
    >>> headline({"metrics": {"val_accuracy": {"value": 0.7}}})
    {'value': 0.7, 'split': 'val'}
    >>> headline({})
    {}
    """
    metrics = record.get("metrics") or {}
    split = metrics.get("split", "val")
    found = metrics.get(f"{split}_accuracy" if split else "accuracy") or metrics.get("val_accuracy")
    return {**found, "split": split} if found else {}


def rename(run: Run, name: str) -> None:
    """Give a run another name: 1 to 80 characters on one line."""
    if not re.fullmatch(r"[^\x00-\x1f]{1,80}", name.strip()):
        raise InputError(f"A run's name has 1 to 80 characters on one line; got {name!r}.")
    run.entitle(name=name.strip())


def note(run: Run, text: str) -> None:
    """Keep a remark with a run; it replaces the one before."""
    run.entitle(note=text.strip())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a local file so that readers see it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def finish(status: Status, state: str, message: str, *, now: float, error: str = "") -> Status:
    """The last status of a run."""
    progress = 1.0 if state == "done" else status.progress
    return replace(status, state=state, message=message, error=error, progress=progress, finished_at=now, heartbeat=now)


def _alive(status: Status) -> bool | None:
    if status.pid is None or status.host != process.host():
        return None
    return process.same_process(status.pid, status.process_start)


def _default_name(record: dict[str, Any], now: datetime) -> str:
    bucket = str(record.get("bucket") or record["kind"]).rstrip("/").rpartition("/")[2]
    return " ".join(p for p in (bucket, record.get("target"), f"{now:%m-%d %H:%M}") if p)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
