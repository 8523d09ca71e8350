"""Fixtures of the page tests: places of their own, and a finished run whose predictions are drawn by a seed."""

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from visrec.config import Settings
from visrec.runs.record import Run, open_runs
from visrec.runs.status import Status

sys.path.insert(0, str(Path(__file__).parent))  # sending lies beside the tests

ROOT = Path(__file__).resolve().parents[2]
RACES = ["Black", "East Asian", "White"]
AGES = ["3-9", "20-29", "more than 70"]


@pytest.fixture
def places(tmp_path, monkeypatch) -> Settings:
    """Buckets, runs and cache of this test alone; nothing that an earlier test read is remembered."""
    import streamlit as st

    _empty_places(tmp_path, monkeypatch)
    st.cache_data.clear()
    st.cache_resource.clear()
    return Settings.load(dotenv=None)


def _empty_places(tmp_path, monkeypatch) -> None:
    for name in ("buckets", "runs", "cache", "queue"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"VISREC_{name.upper()}", str(tmp_path / name))
    for name in ("BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def app(places) -> AppTest:
    """The dashboard, opened as a visitor does: through ``app.py``."""
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)


@pytest.fixture
def run(places) -> Run:
    """A finished run on drawn predictions: 900 val rows, fewer hits for one race."""
    return make_run(places)


def make_run(settings: Settings, *, state: str = "done", name: str = "drawn", **record) -> Run:
    """A run folder as training leaves it, without a model."""
    run = open_runs(settings).create(
        {
            "kind": "trained", "bucket": "drawn-faces", "target": "gender", "by": ["race", "age"],
            "labels": ["Female", "Male"], "image_size": 64, "attributes": ["race", "age"],
            "settings": {"bucket": "drawn-faces", "target": "gender", "by": ["race", "age"]},
            "metrics": {"val_accuracy": {"value": 0.87, "low": 0.85, "high": 0.89, "n": 900}, "split": "val"},
            "seconds": {"prepare": 1.0, "head": 2.0}, **record,
        },
        name,
    )  # fmt: skip
    now = time.time()
    status = Status(state, stage="export", progress=1.0, heartbeat=now, started=now - 60, message="Done.")
    run.write_status(dataclasses.replace(status, finished_at=now if status.finished else None))
    if state == "done":
        run.write_table("predictions.parquet", drawn_predictions())
    return run


def drawn_predictions(rows: int = 900, seed: int = 0) -> pd.DataFrame:
    """Predictions as `visrec.model` writes them; the model is right in 9 of 10, for one race in 7 of 10."""
    rng = np.random.default_rng(seed)
    race, age = rng.choice(RACES, rows), rng.choice(AGES, rows, p=[0.6, 0.37, 0.03])
    label = rng.choice(["Female", "Male"], rows)
    hit = rng.random(rows) < np.where(race == "Black", 0.7, 0.9)
    other = np.where(label == "Male", "Female", "Male")
    sure = rng.uniform(0.5, 1, rows)
    male = np.where((label == "Male") == hit, sure, 1 - sure)
    return pd.DataFrame(
        {
            "file": [f"val/{i}.jpg" for i in range(rows)], "split": "val",
            "label": label, "prediction": np.where(hit, label, other),
            "score:Female": 1 - male, "score:Male": male, "race": race, "age": age,
        }
    )  # fmt: skip


@pytest.fixture
def forgetful():
    """What was cached before this test, and in it, is forgotten: for tests that plant what a page would keep."""
    import streamlit as st

    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def tiny_app(tiny_settings, tiny_run, tmp_path, monkeypatch):
    """The Explain page over the tiny trained run, whose model stays in memory from test to test, as in a server."""
    _empty_places(tmp_path, monkeypatch)
    monkeypatch.setenv("VISREC_BUCKETS", str(tiny_settings.buckets[0]))
    monkeypatch.setenv("VISREC_RUNS", tiny_settings.runs)
    monkeypatch.setenv("VISREC_CACHE", str(tiny_settings.cache))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.run()
    app.switch_page("pages/trust/explain.py").run()
    return app
