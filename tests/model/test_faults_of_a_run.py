"""Faults: whatever breaks a training, the run says so in a sentence, frees the machine and can go on."""

import contextlib
import dataclasses
import errno
import shutil

import pytest

from visrec.config import Settings, TrainConfig
from visrec.data.demo import make_tiny_bucket
from visrec.errors import OutsideError, RunError
from visrec.model import checkpoint, train, work
from visrec.runs import jobs
from visrec.runs.queue import Ticket
from visrec.runs.record import open_runs
from visrec.storage.folder import FolderStore

CONFIG = TrainConfig("tiny", image_size=48, alpha=0.35, weights="none", fine_tune_epochs=2, batch_size=16)


class ResourceExhaustedError(Exception):
    """By its name, what TensorFlow raises when a tensor does not fit."""


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A drawn bucket of this test alone."""
    make_tiny_bucket(tmp_path / "buckets" / "tiny", 40, size=48)
    return Settings(buckets=(tmp_path / "buckets",), runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


FAULTS = [
    (OSError(errno.ENOSPC, "No space left on device"), "The disk is full. Free some space"),
    (MemoryError(), "Memory ran out. Choose a smaller batch size or image size"),
    (ResourceExhaustedError("OOM when allocating tensor"), "Memory ran out"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte"), "Memory ran out"),
    (OutsideError("The store at s3://b cannot be reached."), "cannot be reached"),
    (RunError("The loss was no number any more in epoch 2."), "no number"),
    (ZeroDivisionError("division by zero"), "a fault of its own (ZeroDivisionError: division by zero)"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS, ids=[type(f).__name__ for f, _ in FAULTS])
def test_a_fault_in_the_middle_leaves_a_sentence_and_can_be_resumed(settings, monkeypatch, fault, said):
    """Not a traceback, not a run that claims to be running, and not a queue that waits for the dead."""

    def broken(*_):
        raise fault

    monkeypatch.setattr(work, "prepare", broken)
    with pytest.raises(RunError, match="failed"):
        train.train(CONFIG, settings)

    [run] = open_runs(settings).list()
    status = run.status()
    assert "failed" == status.state
    assert said in status.error
    assert "Traceback" not in status.message
    assert "resume" in status.next_action
    jobs.check_resumable(run)
    assert not jobs.is_training(settings)


@pytest.mark.parametrize(("fault", "state", "kept"), [(None, "done", False), (MemoryError(), "failed", True)])
def test_what_a_resume_needs_is_deleted_only_when_the_run_is_known_to_be_done(
    settings, monkeypatch, fault, state, kept
):
    """A kill between the last step and its end would otherwise train all epochs again."""
    seen = []

    def ending(planned, settings, run, reporter):
        run.store.write(checkpoint.LAST, b"everything")
        if fault:
            raise fault

    delete = FolderStore.delete
    monkeypatch.setattr(train, "_train", ending)
    monkeypatch.setattr(
        FolderStore, "delete", lambda self, key: (seen.append((key, run.status().state)), delete(self, key))
    )
    run = jobs.new_run(CONFIG, settings)
    with pytest.raises(RunError) if fault else contextlib.nullcontext():
        train.train(CONFIG, settings, run=run)

    assert run.status().state == state
    assert run.has(checkpoint.LAST) == kept
    assert {said for key, said in seen if key.startswith("checkpoint/")} == (set() if kept else {"done"})


@pytest.mark.parametrize("what", ["delete", "read"])
def test_a_run_is_done_although_its_checkpoint_cannot_be_deleted(settings, monkeypatch, what):
    """The store may be away by then; nothing that the run is for depends on it."""
    forget = checkpoint.forget

    def away(self, key):
        raise OutsideError("The store cannot be reached.")

    def forget_without_store(run):
        with monkeypatch.context() as gone:
            gone.setattr(FolderStore, what, away)
            forget(run)

    monkeypatch.setattr(train, "_train", lambda planned, settings, run, _: run.store.write(checkpoint.LAST, b"all"))
    monkeypatch.setattr(checkpoint, "forget", forget_without_store)
    run = train.train(CONFIG, settings)
    assert run.status().state == "done"
    assert run.has(checkpoint.LAST)


def test_a_bucket_that_vanished_is_named(settings):
    """Between Start and its turn somebody deleted it; the run waits for it to come back."""
    run = jobs.new_run(CONFIG, settings)
    shutil.rmtree(settings.buckets[0] / "tiny")

    with pytest.raises(RunError):
        train.train(CONFIG, settings, run=run)

    assert "failed" == run.status().state
    assert "There is no bucket 'tiny'" in run.status().error
    jobs.check_resumable(run)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_bucket_that_comes_back_is_trained_on_after_a_resume(settings):
    """With a real process: vanished while the run queues, failed with a sentence, back again, resumed to the end."""
    bucket, away = settings.buckets[0] / "tiny", settings.cache.parent / "away"
    settings.cache.mkdir()
    before = Ticket(jobs.queue_folder(settings), "before")
    run = jobs.start(CONFIG, settings)
    while not run.status().position:
        assert not run.status().finished, run.log()
    bucket.rename(away)
    before.close()

    assert "failed" == jobs.follow(run).state
    assert "There is no bucket 'tiny'" in run.status().error
    away.rename(bucket)
    jobs.resume(run, settings)
    assert jobs.follow(run).ok, run.log()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_images_train_and_validate_with_a_warning(tmp_path):
    """The old trainer made no step below 32 images and validated on nothing: here something is learnt and judged."""
    make_tiny_bucket(tmp_path / "buckets" / "few", 14, size=48)  # and seven to validate
    settings = Settings(buckets=(tmp_path / "buckets",), runs=str(tmp_path / "runs"), cache=tmp_path / "cache")
    run = jobs.start(dataclasses.replace(CONFIG, bucket="few", batch_size=None), settings)
    assert jobs.follow(run).ok, run.log()

    counts = run.record["samples"]
    assert 21 == sum(counts.values())
    assert min(counts["train"], counts["val"]) > 0
    assert counts["val"] == run.record["metrics"]["val_accuracy"]["n"]
    assert any("images to train on: expect a rough model" in w for w in run.record["warnings"])
    assert 2 == len(run.history())
