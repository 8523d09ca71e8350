"""Kills: ``kill -9`` at ten points of a training, drawn by a seed, changes nothing but the time it takes."""

import dataclasses
import os
import signal
import time

import numpy as np
import pytest

from visrec.runs import jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
POINTS = 10


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for the runs of this module."""
    return tmp_path_factory.mktemp("kills")


_whole = {}


@pytest.fixture
def whole(place, tiny_settings, both_stages):
    """One run that nothing interrupts, made once: its weights, predictions and history, and how long its work took."""
    if not _whole:
        settings = dataclasses.replace(tiny_settings, runs=str(place / "whole"), cache=place / "whole-cache")
        run = jobs.start(both_stages, settings)
        began = _running_since(run)
        assert jobs.follow(run, poll=0.05).ok, run.log()
        _whole.update(run=run, seconds=time.monotonic() - began, weights=_weights(run))
    return _whole


def _running_since(run) -> float:
    """Wait until the work itself begins: killing the imports before it would prove little."""
    deadline = time.monotonic() + 120
    while not run.status().stage:
        assert time.monotonic() < deadline, run.log()
        time.sleep(0.02)
    return time.monotonic()


def _weights(run) -> list:
    """The final weights and the predictions they give."""
    import keras

    return keras.models.load_model(run.local("model.keras"), compile=False).get_weights()


@pytest.mark.parametrize("point", range(POINTS))
def test_a_run_killed_anywhere_ends_with_the_same_weights(point, whole, place, tiny_settings, both_stages):
    """Head, fine-tuning, or the writing of a file: after a resume the model, its predictions and its history agree."""
    share = (point + np.random.default_rng([20, point]).random()) / POINTS  # one in each tenth, anywhere within it
    settings = dataclasses.replace(tiny_settings, runs=str(place / f"{point}"), cache=place / f"{point}-cache")
    run = jobs.start(both_stages, settings)
    began = _running_since(run)
    time.sleep(max(0.0, began + share * whole["seconds"] - time.monotonic()))

    pid, stage = run.status().pid, run.status().stage
    if pid and not run.status().finished:  # this one may have been quicker than the whole one
        os.kill(pid, signal.SIGKILL)
        while run.status().state not in ("lost", "done"):
            time.sleep(0.1)
    if run.status().state == "lost":
        assert "esume" in run.status().next_action
        jobs.resume(run, settings)
        assert jobs.follow(run, poll=0.1).ok, run.log()

    print(f"killed at {share:.0%}, in {stage}")
    for one, other in zip(whole["weights"], _weights(run), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole["run"].predictions().equals(run.predictions())
    assert whole["run"].history().equals(run.history())
