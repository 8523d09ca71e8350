"""The atlas as a job of a run, and as a command: its status, its cancelling, its document."""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from planted_models import drawn_image, left_detail

import visrec.explain.atlas_job as jobs
from visrec.cli import run as cli
from visrec.config import Settings
from visrec.errors import InputError, NotFoundError, RunError
from visrec.explain.atlas import kept_atlases, load_atlas
from visrec.runs import process
from visrec.runs.record import open_runs
from visrec.runs.status import Status


class Planted:
    """A predictor of the contract."""

    labels = ["flat", "lively"]
    image_size = 32
    engine = "planted"
    fit = "stretch"

    def __call__(self, images):
        return left_detail(images)


def settings() -> Settings:
    """Those of the environment, which `run` points to a folder of the test."""
    return Settings.load(dotenv=None)


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
    monkeypatch.setenv("VISREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jobs, "_predictor", lambda run, settings: Planted())
    record = {
        "kind": "trained",
        "bucket": str(bucket),
        "labels": Planted.labels,
        "by": ["race"],
        "attributes": ["race"],
    }
    run = open_runs(settings()).create(record, "mine")
    run.write_table("predictions.parquet", pd.DataFrame(rows))
    run.store.write("model.keras", b"planted")
    return run


def test_an_atlas_is_made_kept_and_reported(run):
    """The job ends done at 100 %, the atlas is in the run."""
    seen = []

    made = jobs.make(run, settings(), ["race"], grid=4, permutations=99, report=seen.append)

    assert "done" == jobs.job_of(run, ["race"]).status().state
    assert {"read", "explain", "compare"} <= {s.stage for s in seen}
    assert [s.progress for s in seen] == sorted(s.progress for s in seen)
    np.testing.assert_array_equal(made.maps, load_atlas(run, ["race"]).maps)
    assert "val" == made.settings["split"]


def test_the_same_atlas_comes_out_twice(run):
    """Seeded sample, seeded maskings, in the table's order whatever order the store answers in."""
    first, again = (jobs.make(run, settings(), ["race"], grid=4, permutations=99) for _ in range(2))

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
        jobs.make(run, settings(), ["race"], grid=4)

    assert "cancelled" == job.status().state


def test_an_old_cancel_request_does_not_end_the_next_job(run):
    """Asked too late, it stayed beside a job that was done."""
    job, asked = jobs.job_of(run, ["race"]), []
    job.write_json("cancel.json", {"asked": 0})

    jobs.make(run, settings(), ["race"], grid=4, permutations=9, report=lambda _: asked.append(job.cancel_asked()))

    assert not any(asked)
    assert "done" == job.status().state


@contextlib.contextmanager
def another_process():
    """A living process that is not this one."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child.pid
    child.communicate(b"\n")


def test_an_atlas_that_another_process_makes_is_not_made_twice(run):
    """Two would write over each other; the sentence says who is at it."""
    job = jobs.job_of(run, ["race"])
    with another_process() as pid:
        now, began = time.time(), process.started_at(pid)
        job.write_status(
            Status("running", "explain", 0.4, heartbeat=now, pid=pid, host=process.host(), process_start=began)
        )
        with pytest.raises(InputError, match=f"being made already, by process {pid} on .* \\(40%\\)"):
            jobs.make(run, settings(), ["race"], grid=4)

        assert pid == job.status().pid


class Child:
    """Stands for the process that `start` begins: counted, and ended with a code."""

    begun: ClassVar[list] = []

    def __init__(self, command, *, stderr, **options):
        Child.begun.append(command)
        self.pid = os.getpid()
        self.stderr = stderr
        time.sleep(0.05)

    def wait(self):
        return 0


def test_two_visitors_who_press_at_once_start_one_process(run, monkeypatch):
    """Looking and writing are one step."""
    monkeypatch.setattr(subprocess, "Popen", Child)
    Child.begun.clear()
    both = [threading.Thread(target=jobs.start, args=(run, settings(), by)) for by in (["race"], ["race"])]
    for one in both:
        one.start()
    for one in both:
        one.join()

    assert 1 == len(Child.begun)


def test_a_process_that_fails_at_once_leaves_its_sentence(run, monkeypatch, tmp_path):
    """Not "fell silent" half a minute later: the status is failed, with what the command line said."""
    monkeypatch.setattr(jobs.jobs, "environment", lambda *_: {**os.environ, "VISREC_RUNS": str(tmp_path / "no")})

    job = jobs.start(run, settings(), ["race"])
    until = time.monotonic() + 60
    while written(job)["state"] != "failed" and time.monotonic() < until:
        time.sleep(0.1)

    assert "failed" == written(job)["state"]
    assert f"There is no run '{run.id}'" in job.status().error
    assert "visrec: " in job.log()


def written(job) -> dict:
    """The status as it lies there, nothing derived."""
    return json.loads(job.store.read("status.json"))


def test_by_race_and_age_is_the_atlas_by_age_and_race(run):
    """One crossing, one atlas, one job."""
    rows = run.predictions().assign(age=["young", "old"] * 12)
    run.write_table("predictions.parquet", rows)

    made = jobs.make(run, settings(), ["race", "age", "race"], grid=4, permutations=9)

    assert jobs.job_of(run, ["age", "race"]).status().state == "done"
    np.testing.assert_array_equal(made.maps, load_atlas(run, ["age", "race"]).maps)
    np.testing.assert_array_equal(made.maps, load_atlas(run, ["race", "age"]).maps)
    assert [["age", "race"]] == kept_atlases(run)


def test_comparing_is_a_stage_with_progress_before_it_is_done(run):
    """With many groups it takes minutes: it is announced when it begins."""
    seen = []
    jobs.make(run, settings(), ["race"], grid=4, permutations=999, report=seen.append)

    steps = [s.stage_progress for s in seen if s.stage == "compare" and s.state == "running"]
    assert 0 == steps[0]
    assert len({p for p in steps if 0 < p < 1}) >= 2


def test_images_that_dropped_out_are_counted(run):
    """Without a value, or unreadable since: kept with the atlas, and in its document."""
    rows = run.predictions()
    rows.loc[[0, 1, 2], "race"] = None
    run.write_table("predictions.parquet", rows)
    (Path(run.record["bucket"]) / "7.png").write_bytes(b"gone")

    made = jobs.make(run, settings(), ["race"], grid=4, permutations=9)

    assert {"no_value": 3, "unreadable": 1} == made.images_left_out
    assert made.images_left_out == load_atlas(run, ["race"]).to_json()["images_left_out"]
    assert 20 == len(made.samples)


def test_what_is_missing_is_told_before_anything_begins(run):
    """No attribute, an unknown one, no model."""
    with pytest.raises(InputError, match=r"none was named\. There are: race"):
        jobs.make(run, settings(), [])
    with pytest.raises(InputError, match="no attribute 'age'"):
        jobs.make(run, settings(), ["age"])
    run.store.delete("model.keras")
    with pytest.raises(NotFoundError, match="has no model to ask"):
        jobs.make(run, settings(), ["race"])


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


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--permutations", "-5"], "--permutations: '-5' was given, expected a whole number from 1"),
        (["--permutations", "0"], "--permutations: '0' was given"),
        (["--images", "0"], "--images: '0' was given, expected a whole number from 1"),
        (["--seed", "-1"], "--seed: '-1' was given"),
        (["--grid", "1"], "--grid: '1' was given, expected a whole number from 2"),
        (["--grid", "17"], "A grid of 17 squares a side was asked for, expected 2 to 16"),
        (["--by", "label"], "no attribute 'label'. There are: race"),
        (["--by", "prediction"], "no attribute 'prediction'"),
        (["--by", " , "], "none was named"),
    ],
)
def test_wrong_options_are_exit_code_2_and_nothing_is_begun(run, capsys, monkeypatch, args, words):
    """A sentence with what was expected; no image is read for it."""
    monkeypatch.setattr(jobs, "_read", lambda *_: pytest.fail("read"))

    assert 2 == cli(["atlas", "mine", *args])
    assert words in capsys.readouterr().err


def test_attributes_may_be_named_twice_and_with_blanks(run, capsys):
    """As a person types a list."""
    assert 0 == cli(["atlas", "mine", "--by", "race, race", "--grid", "4", "--permutations", "9", "--json"])
    assert ["race"] == json.loads(capsys.readouterr().out)["by"]


def test_an_unknown_attribute_is_exit_code_2(run, capsys):
    """With the nearest name."""
    assert 2 == cli(["atlas", "mine", "--by", "rcae"])
    assert "Did you mean 'race'" in capsys.readouterr().err


def test_an_imported_tflite_model_has_an_atlas_too(run):
    """Only answers are needed, and any engine gives them."""
    run.store.delete("model.keras")
    run.store.write("model.tflite", b"planted")

    jobs.make(run, settings(), ["race"], grid=4, permutations=9)

    assert 24 == len(load_atlas(run, ["race"]).samples)


def test_what_cannot_be_made_is_refused_before_a_job_begins(run):
    """The page's button shows the sentence; no job is left behind that never moves."""
    with pytest.raises(InputError, match="no attribute 'age'"):
        jobs.start(run, settings(), ["age"])

    assert not jobs.job_of(run, ["age"]).store.exists("status.json")
