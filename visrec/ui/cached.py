"""Reads that are worth keeping between two reruns of a page; each a thin wrapper of one call into visrec.

What a cached function returns is shared by every visitor: tables are handed out as copy-on-write views, so a page
may change its own without touching the others'. Every key holds the place (URL) it was read from.
"""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from visrec.config import Settings
from visrec.connections import named_in
from visrec.errors import NotFoundError, VisrecError

SETTINGS_SECONDS = 0.25
"""So long the settings stand: no longer than a page takes to draw."""
DAMAGED = "damaged"
"""The kind of a run whose record cannot be read."""
ROW_SECONDS = 60.0
"""So long the row of a finished run is kept: another replica, or the command line, may rename it."""


@dataclass(frozen=True)
class RunRow:
    """One run as a list shows it; nothing here needs its predictions or its model."""

    id: str
    name: str
    kind: str
    state: str
    created: str
    bucket: str
    target: str
    accuracy: float | None
    attributes: tuple[str, ...]
    split: str = ""
    """Of the accuracy."""
    labels: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    """Attributes that the run was told to watch."""
    skipped: tuple[dict, ...] = field(default=(), hash=False)
    """Rows left out when its table was imported, as the record has them: ``reason``, ``count``, ``examples``."""

    @property
    def usable(self) -> bool:
        """Whether the run has ended well, so that its predictions can be read."""
        return self.state == "done"


def settings() -> Settings:
    """The settings of now, with the connections that Streamlit's secrets name.

    A page asks some fifteen times in one run, so what was read a moment ago stands, in an environment that is the same.
    """
    global _settings
    now, environ, read = time.monotonic(), dict(os.environ), _settings
    if read is None or now - read[0] > SETTINGS_SECONDS or environ != read[1]:
        found = Settings.load()
        if st.secrets.load_if_toml_exists() and "cos" in st.secrets:
            found = found.with_connections(st.secrets["cos"].to_dict())
        _settings = read = now, environ, found
    return read[2]


_settings: tuple[float, dict[str, str], Settings] | None = None


def runs():
    """The folder of runs."""
    from visrec.runs.record import open_runs

    return open_runs(settings())


def run(run_id: str):
    """One run, opened; raises ``NotFoundError`` for an unknown id."""
    return runs().open(run_id)


def run_list() -> list[RunRow]:
    """Every run, newest first; read at most every two seconds."""
    return list(_run_list(settings().runs))


@st.cache_resource(ttl=2, show_spinner=False, max_entries=8)  # a page asks six times: no copy for each
def _run_list(url: str) -> tuple[RunRow, ...]:
    known, now = _finished_rows(), time.monotonic()
    for key, (_, read) in list(known.items()):
        if now - read > ROW_SECONDS:
            known.pop(key, None)
    found = runs().list()
    unknown = [run for run in found if (url, run.id) not in known]
    with ThreadPoolExecutor(16) as pool:  # a run in a bucket costs two requests
        fresh = {row.id: row for row in pool.map(_row, unknown) if row is not None}
    known.update({(url, row.id): (row, now) for row in fresh.values() if row.usable})
    rows = [fresh.get(run.id) or known.get((url, run.id), (None, now))[0] for run in found]
    return tuple(row for row in rows if row is not None)


@st.cache_resource
def _finished_rows() -> dict[tuple[str, str], tuple[RunRow, float]]:
    """Rows that hardly change, with the time they were read: a long list is not read anew every two seconds."""
    return {}


def _row(run) -> RunRow | None:
    from visrec.runs.record import headline

    try:
        record, state = run.record, run.status().state
    except NotFoundError:  # deleted between the listing and now
        return None
    except VisrecError:  # damaged: it can be looked at and deleted, and hides no other
        record, state = {"kind": DAMAGED}, "failed"
    metric = headline(record)
    return RunRow(
        id=run.id,
        name=record.get("name") or run.id,
        kind=record.get("kind", "trained"),
        state=state,
        created=record.get("created", ""),
        bucket=record.get("bucket") or "",
        target=record.get("target") or "",
        accuracy=metric.get("value"),
        attributes=tuple(record.get("attributes") or record.get("by") or ()),
        split=metric.get("split") or "",
        labels=tuple(map(str, record.get("labels") or ())),
        watched=tuple(record.get("by") or ()),
        skipped=tuple(record.get("skipped") or ()),
    )


def forget_runs() -> None:
    """Read the list of runs afresh: something was started, renamed or deleted just now."""
    _run_list.clear()
    _finished_rows().clear()


def predictions(run_id: str) -> pd.DataFrame:
    """The predictions of a finished run: file, split, label, prediction, scores, attributes.

    The frame is a copy-on-write view of the cached one.
    """
    return _predictions(settings().runs, run_id).copy(deep=False)


@st.cache_resource(max_entries=6, show_spinner="Reading the predictions")
def _predictions(url: str, run_id: str) -> pd.DataFrame:
    return run(run_id).predictions()


def values(run_id: str, column: str) -> list[str]:
    """The values of one column of a run's predictions, each once, in order of appearance; the sidebar lists them."""
    return list(_values(settings().runs, run_id, column))


@st.cache_resource(max_entries=64, show_spinner=False)
def _values(url: str, run_id: str, column: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(v) for v in _predictions(url, run_id)[column].dropna().unique()))


def buckets() -> list:
    """Every bucket that the settings reach; read at most every ten seconds."""
    return _reached()[0]


def bucket_faults() -> list[str]:
    """What kept a place from being looked into, a sentence each; the buckets of the others are offered all the same."""
    return _reached()[1]


def _reached() -> tuple[list, list[str]]:
    current = settings()
    return _buckets(tuple(map(str, current.buckets)), tuple((s3.bucket, reach(s3.name)) for s3 in current.stores))


@st.cache_data(ttl=10, show_spinner="Looking for buckets", max_entries=8)
def _buckets(folders: tuple[str, ...], stores: tuple[tuple, ...]) -> tuple[list, list[str]]:
    from visrec.storage.buckets import list_buckets

    faults: list[str] = []
    return list_buckets(settings(), on_error=lambda error: faults.append(str(error))), faults


def reach(connection: str = "") -> tuple[str | None, ...]:
    """What else than its URL says which bucket is meant: name, endpoint and region of the way to it; no secret."""
    s3 = settings().store_named(connection)
    return s3.name, s3.endpoint_url, s3.region


def reach_of(url: str) -> tuple[str | None, ...]:
    """`reach` of the connection that a bucket's URL goes by; nothing for a folder."""
    return reach(next(iter(named_in([url])), "")) if "://" in url else ()


def bucket_table(url: str):
    """The labels of one bucket (`visrec.data.layouts.BucketTable`); shared, so never change it."""
    return _bucket_table(url, reach_of(url))[1]


def bucket_reading(url: str) -> str:
    """A word of its own for each reading of `bucket_table`: what is kept of the labels is kept by it."""
    return _bucket_table(url, reach_of(url))[0]


@st.cache_resource(ttl=300, show_spinner="Reading the labels", max_entries=6)
def _bucket_table(url: str, where: tuple):
    from visrec.data.decisions import load_decisions
    from visrec.data.layouts import read_bucket
    from visrec.storage.buckets import open_bucket

    store = open_bucket(url, settings())
    return uuid.uuid4().hex, read_bucket(store, decisions=load_decisions(settings().cache, store.url))


@st.cache_resource(ttl=1800, max_entries=6)
def _inspections() -> dict:
    return {}


def inspection(url: str):
    """What the doctor found when it last looked at every image of a bucket; None when nobody asked yet."""
    return _inspections().get((url, reach_of(url)))


def inspect_bucket(url: str, progress=None):
    """Look at every image of a bucket; quick the second time, since the facts of an image are kept."""
    from visrec.data.doctor import inspect
    from visrec.storage.buckets import open_bucket

    current = settings()
    found = inspect(open_bucket(url, current), cache_dir=current.cache, progress=progress)
    _inspections()[url, reach_of(url)] = found
    return found


def decide(url: str, kind: str, choice: str) -> None:
    """Keep a decision about one kind of problem; the next training and inspection follow it."""
    from visrec.data.decisions import save_decisions
    from visrec.storage.buckets import open_bucket

    current = settings()
    save_decisions(current.cache, open_bucket(url, current).url, {kind: choice})
    _bucket_table.clear()
    if inspection(url):
        inspect_bucket(url)


def forget_buckets() -> None:
    """Look for buckets afresh."""
    _buckets.clear()
    _bucket_table.clear()
    _inspections().clear()


def predictor(run_id: str):
    """The model of a run, ready to answer; on the CPU while a training has the machine."""
    from visrec.runs import jobs

    current = settings()
    return _predictor(current.runs, run_id, jobs.is_training(current))


@st.cache_resource(max_entries=3, show_spinner="Loading the model")
def _predictor(url: str, run_id: str, device_busy: bool):
    from visrec.model.predict import load_predictor

    return load_predictor(run(run_id), device_busy=device_busy)


@st.cache_resource(max_entries=6, show_spinner=False)
def _calibration(url: str, run_id: str):
    from visrec.explain.calibration import calibrate

    return calibrate(_predictions(url, run_id), run(run_id).labels())


def calibration(run_id: str):
    """How sure the model of a run may be believed to be (`visrec.explain.calibration.Calibration`)."""
    return _calibration(settings().runs, run_id)
