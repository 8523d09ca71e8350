"""Runs kept in an S3 bucket: every step of a run's life, as a replica on another machine sees it."""

import dataclasses
import json
import time

import numpy as np
import pytest

from visrec.cli import run as visrec
from visrec.runs import jobs, process
from visrec.runs.record import open_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def remote(settings, s3_settings, s3_bucket):
    """The tiny bucket's settings, with runs under a prefix of an S3 bucket."""
    return dataclasses.replace(settings, runs=f"s3://{s3_bucket}/team/runs", s3=s3_settings)


def test_a_run_in_a_bucket_lives_as_one_in_a_folder_does(remote, both_stages, monkeypatch, capsys, wait_for):
    """Started, followed, cancelled from another machine, resumed, renamed, noted, audited, exported, deleted."""
    whole = jobs.start(both_stages, remote, name="whole")
    seen = []
    assert jobs.follow(whole, listen=seen.append).ok, whole.log()
    assert {"queued", "running", "done"} == {s.state for s in seen}
    assert "fine_tune" in {s.stage for s in seen}
    assert len(whole.history()) > 3

    cut = jobs.start(both_stages, remote, name="cut")
    wait_for(lambda: cut.store.exists("checkpoint/last.npz"))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(process, "host", lambda: "another-machine")
        began = time.monotonic()
        if not cut.status().finished:
            assert "cancelling" == jobs.cancel(cut).state  # no signal reaches it from there
        wait_for(lambda: cut.status().finished, 60)
        seconds = time.monotonic() - began
    assert seconds < 10, f"cancelled through the bucket after {seconds:.1f} s"
    assert "cancelled" == cut.status().state, cut.log()
    assert "checkpoint is kept" in cut.status().message or cut.store.exists("checkpoint/last.npz")

    jobs.resume(cut, remote)
    assert jobs.follow(cut).ok, cut.log()
    assert whole.predictions().equals(cut.predictions())

    for name, value in jobs.environment(remote).items():
        monkeypatch.setenv(name, value)
    assert 0 == visrec(["rename", "cut", "a better name"])
    assert 0 == visrec(["note", "a better name", "for the report"])
    capsys.readouterr()
    assert 0 == visrec(["audit", "a better name", "--by", "race", "--json"])
    audited = json.loads(capsys.readouterr().out)
    assert audited["overall"]["accuracy"]["value"] == pytest.approx(cut.record["metrics"]["val_accuracy"]["value"])
    assert 0 == visrec(["runs", "--json"])
    assert {"whole", "a better name"} == {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert "for the report" == cut.record["note"]

    model = cut.local("model") / "saved_model.pb"
    assert model.is_file()
    table = np.unique(cut.predictions()["prediction"])
    assert set(table) <= set(cut.labels())

    assert 0 == visrec(["delete", "whole", "--yes"])
    assert [cut.id] == open_runs(remote).ids()
    assert not list(whole.store.list())
