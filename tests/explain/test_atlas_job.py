"""The atlas as a job of a run, and as a command: its status, its cancelling, its document."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted_models import drawn_image, left_detail

import visrec.explain.atlas_job as jobs
from visrec.cli import run as cli
from visrec.config import Settings
from visrec.errors import InputError, NotFoundError, RunError
from visrec.explain.atlas import load_atlas
from visrec.runs.record import open_runs


class Planted:
    """A predictor of the contract."""

    labels = ["flat", "lively"]
    image_size = 32
    engine = "planted"
    fit = "stretch"

    def __call__(self, images):
        return left_detail(images)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run with 24 test images of two groups in a bucket, and a planted model."""
    bucket = tmp_path / "buckets" / "b"
    bucket.mkdir(parents=True)
    rows = []
    for i in range(24):
        buffer = io.BytesIO()
        Image.fromarray(drawn_image(32, i)).save(buffer, "PNG")
        (bucket / f"{i}.png").write_bytes(buffer.getvalue())
        rows.append({"file": f"{i}.png", "split": "val", "label": "lively", "race": "ab"[i % 2]})
    monkeypatch.setenv("VISREC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(jobs, "_predictor", lambda run, settings: Planted())
    record = {
        "kind": "trained",
        "bucket": str(bucket),
        "labels": Planted.labels,
        "by": ["race"],
        "attributes": ["race"],
    }
    run = open_runs(Settings.load(dotenv=None)).create(record, "mine")
    run.write_table("predictions.parquet", pd.DataFrame(rows))
    run.store.write("model.keras", b"planted")
    return run


def test_an_atlas_is_made_kept_and_reported(run):
    """The job ends done at 100 %, the atlas is in the run."""
    seen = []

    made = jobs.make(run, Settings(), ["race"], grid=4, permutations=99, report=seen.append)

    assert "done" == jobs.job_of(run, ["race"]).status().state
    assert {"read", "explain", "compare"} <= {s.stage for s in seen}
    assert [s.progress for s in seen] == sorted(s.progress for s in seen)
    np.testing.assert_array_equal(made.maps, load_atlas(run, ["race"]).maps)
    assert "val" == made.settings["split"]


def test_the_same_atlas_comes_out_twice(run):
    """Seeded sample, seeded maskings, in the table's order whatever order the store answers in."""
    first, again = (jobs.make(run, Settings(), ["race"], grid=4, permutations=99) for _ in range(2))

    np.testing.assert_array_equal(first.maps, again.maps)
    assert first.to_json() | {"seconds": 0} == again.to_json() | {"seconds": 0}


def test_a_cancel_request_ends_it(run, monkeypatch):
    """Asked by a file beside the status, as a training is."""
    job = jobs.job_of(run, ["race"])

    def slow(images):
        import time

        job.write_json("cancel.json", {"asked": 0})
        time.sleep(0.2)
        return left_detail(images)

    monkeypatch.setattr(Planted, "__call__", lambda self, images: slow(images))
    with pytest.raises(RunError, match="cancelled"):
        jobs.make(run, Settings(), ["race"], grid=4)

    assert "cancelled" == job.status().state


def test_what_is_missing_is_told_before_anything_begins(run):
    """No attribute, an unknown one, no model."""
    with pytest.raises(InputError, match=r"none was named\. There are: race"):
        jobs.make(run, Settings(), [])
    with pytest.raises(InputError, match="no attribute 'age'"):
        jobs.make(run, Settings(), ["age"])
    run.store.delete("model.keras")
    with pytest.raises(NotFoundError, match="has no model to ask"):
        jobs.make(run, Settings(), ["race"])


def test_the_command_prints_one_document(run, capsys):
    """Cells with quality, differences with what is lit, the alignment in words."""
    code = cli(["atlas", "mine", "--grid", "4", "--permutations", "99", "--json"])

    out = capsys.readouterr()
    found = json.loads(out.out)
    assert (0, "") == (code, out.err)
    assert ["a", "b"] == [c["cell"] for c in found["cells"]]
    assert (4, 4) == np.shape(found["differences"][0]["lit"])
    assert found["alignment"]["aligned"] is False
    assert {"run", "by", "split", "images", "p", "seconds"} <= set(found)


def test_people_get_a_table(run, capsys):
    """Alignment, a row per cell, the p-value of the whole."""
    code = cli(["atlas", "mine", "--grid", "4", "--permutations", "99"])

    out = capsys.readouterr().out
    assert 0 == code
    assert "not aligned" in out
    assert "differs from the rest on" in out
    assert "p = " in out


def test_an_unknown_attribute_is_exit_code_2(run, capsys):
    """With the nearest name."""
    assert 2 == cli(["atlas", "mine", "--by", "rcae"])
    assert "Did you mean 'race'" in capsys.readouterr().err


def test_an_imported_tflite_model_has_an_atlas_too(run):
    """Only answers are needed, and any engine gives them."""
    run.store.delete("model.keras")
    run.store.write("model.tflite", b"planted")

    jobs.make(run, Settings.load(dotenv=None), ["race"], grid=4, permutations=9)

    assert 24 == len(load_atlas(run, ["race"]).samples)


def test_what_cannot_be_made_is_refused_before_a_job_begins(run):
    """The page's button shows the sentence; no job is left behind that never moves."""
    with pytest.raises(InputError, match="no attribute 'age'"):
        jobs.start(run, Settings.load(dotenv=None), ["age"])

    assert not jobs.job_of(run, ["age"]).store.exists("status.json")
