"""Fixtures shared by all tests."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `visrec.model.device` does it, also where a test imports Keras

COSTLY = ("tiny_run",)
"""Session fixtures that take long to make: all tests of one share a worker, so that it is made once."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items):
    """Keep the users of a costly fixture together (`--dist loadgroup`)."""
    for item in items:
        for fixture in COSTLY:
            if fixture in getattr(item, "fixturenames", ()) and not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group(fixture))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data for measuring; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("VISREC_SHARED", ROOT.parent / "shared"))
    if not (folder / "predictions").is_dir():
        pytest.skip("the shared real data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tmp_path_factory):
    """Settings that point to a bucket ``tiny`` of drawn faces and to empty runs and cache folders."""
    from visrec.config import Settings
    from visrec.data.demo import make_tiny_bucket

    root = tmp_path_factory.mktemp("tiny")
    make_tiny_bucket(root / "buckets" / "tiny", 60, size=48)
    return Settings(buckets=(root / "buckets",), runs=str(root / "runs"), cache=root / "cache")


@pytest.fixture(scope="session")
def tiny_run(tiny_settings):
    """A run really trained, from scratch and for seconds, on the bucket ``tiny``; do not change it.

    Target expression, watched race and age, splits train, tune and val. It is trained by the command line in a
    process of its own, so that this one does not load TensorFlow.
    """
    from visrec.runs import jobs
    from visrec.runs.record import open_runs

    command = [sys.executable, "-m", "visrec", "train", "tiny", "--image-size", "48", "--fine-tune-epochs", "2"]
    done = subprocess.run(
        [*command, "--batch-size", "16", "--name", "tiny", "--json"],
        capture_output=True, text=True, env=jobs.environment(tiny_settings), cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return open_runs(tiny_settings).open(json.loads(done.stdout)["run"])
