"""Keras on JAX: the same code trains, so that several nodes stay within reach (FIELD.md)."""

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from visrec.runs import jobs
from visrec.runs.record import open_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def visrec(settings, *arguments, backend="jax"):
    """One command in a process of its own, with Keras on a backend; its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "visrec", *arguments, "--json"],
        capture_output=True, text=True, env={**jobs.environment(settings), "KERAS_BACKEND": backend}, cwd=ROOT,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_run_trained_on_jax_is_predicted_and_audited_like_any_other(tiny_settings, tmp_path):
    """Nothing but the backend differs; what JAX cannot write is said in the record, and made on TensorFlow later."""
    settings = dataclasses.replace(tiny_settings, runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    options = ["--image-size", "32", "--fine-tune-epochs", "2", "--batch-size", "16"]
    trained = visrec(settings, "train", "tiny", *options)
    run = open_runs(settings).open(trained["run"])

    assert ("done", "jax", "jax") == (
        trained["state"], run.record["lineage"]["backend"], run.record["lineage"]["engine"],
    )  # fmt: skip
    assert "jax" in run.record["lineage"]["packages"]
    assert "writes no SavedModel" in run.record["export_note"]
    assert 2 == len(run.history())

    row = run.predictions().query("split == 'val'").iloc[0]
    image = str(settings.buckets[0] / "tiny" / row["file"])
    for backend in ("jax", "tensorflow"):
        [answer] = visrec(settings, "predict", run.id, image, backend=backend)
        assert row["prediction"] == answer["prediction"]
        assert row["score:smiling"] == pytest.approx(answer["scores"]["smiling"], abs=1e-4)

    audited = visrec(settings, "audit", run.id, "--by", "race")
    assert trained["metrics"]["val_accuracy"]["value"] == pytest.approx(audited["overall"]["accuracy"]["value"])

    visrec(settings, "export", run.id, "--format", "savedmodel", "-o", str(tmp_path / "out"), backend="tensorflow")
    assert (tmp_path / "out" / "saved_model.pb").is_file()
