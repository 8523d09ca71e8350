"""Jobs: real training processes that are started, cancelled, killed and resumed. Slow: each loads TensorFlow."""

import dataclasses
import os
import signal
import threading
import time

import numpy as np
import pytest

from visrec.config import TrainConfig
from visrec.errors import InputError
from visrec.runs import jobs
from visrec.runs.record import open_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CONFIG = TrainConfig("tiny", image_size=48, fine_tune_epochs=4, batch_size=16)


def checkpointed(run):
    """Whether an epoch was completed."""
    return run.store.exists("checkpoint/last.npz")


def arrays(run):
    """Every weight of the run's model."""
    import keras

    return keras.models.load_model(run.local("model.keras"), compile=False).get_weights()


def test_a_killed_run_is_seen_as_lost_and_resumes_to_the_same_weights(settings, wait_for):
    """kill -9 at any point costs time, never the result."""
    whole = jobs.start(CONFIG, settings)
    assert jobs.follow(whole).ok, whole.log()
    cut = jobs.start(CONFIG, settings)
    wait_for(lambda: checkpointed(cut))

    os.kill(cut.status().pid, signal.SIGKILL)
    wait_for(lambda: cut.status().state == "lost", 35)
    jobs.resume(cut, settings)
    assert jobs.follow(cut).ok, cut.log()

    for one, other in zip(arrays(whole), arrays(cut), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cancelled_run_ends_within_seconds_and_keeps_its_checkpoint(settings, wait_for):
    """Stop means stop, whatever the process is busy with."""
    run = jobs.start(dataclasses.replace(CONFIG, fine_tune_epochs=200), settings)
    wait_for(lambda: checkpointed(run))

    began = time.monotonic()
    status = jobs.cancel(run)

    assert status.state == "cancelled"
    assert time.monotonic() - began < 8  # 2 s on a quiet machine
    assert checkpointed(run)
    assert not jobs.is_training(settings)


def test_two_starts_at_once_train_one_after_the_other(settings, wait_for):
    """One runs, one queues and says for whom it waits."""
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(jobs.start(CONFIG, settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_for(lambda: len(jobs.training_ids(settings)) == 2)
    first, second = (open_runs(settings).open(run_id) for run_id in jobs.training_ids(settings))
    wait_for(lambda: second.status().position == 1)
    assert first.status().state in ("queued", "running")

    assert jobs.cancel(second).state == "cancelled"
    assert jobs.follow(first).ok, first.log()


def test_only_what_stopped_can_be_resumed(settings):
    """Each refusal says what to do instead."""
    run = jobs.start(dataclasses.replace(CONFIG, bucket="nowhere"), settings)
    assert jobs.follow(run).state == "failed"
    assert "There is no bucket 'nowhere'" in run.status().message

    jobs.check_resumable(run)
    with pytest.raises(InputError, match="only a run that is queued or running"):
        jobs.cancel(run)
