"""Attempts: however many processes want a run, one has it; and one that is alive is not taken for lost."""

import dataclasses
import os
import threading
import time

import pytest

from visrec.config import Settings
from visrec.errors import InputError
from visrec.runs import jobs, process, reporter, silence
from visrec.runs.record import open_runs
from visrec.runs.reporter import Cancelled, Reporter, TakenOver
from visrec.runs.status import Status


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Places of this test alone."""
    return Settings(runs=str(tmp_path / "runs"), cache=tmp_path / "cache")


@pytest.fixture
def run(settings):
    """A run that stopped."""
    run = open_runs(settings).create({"kind": "trained", "settings": {"bucket": "b"}})
    run.write_status(Status("cancelled", attempt="first"))
    return run


def test_of_two_resumes_at_once_one_is_refused(run, settings, monkeypatch):
    """Two replicas, or two impatient clicks: one process begins."""
    started, refused = [], []
    monkeypatch.setattr(jobs, "launch", lambda run, settings: started.append(run))
    check = jobs.check_resumable

    def slow(run):
        check(run)
        time.sleep(0.2)

    monkeypatch.setattr(jobs, "check_resumable", slow)

    def resume():
        try:
            jobs.resume(run, settings)
        except InputError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (1, 1) == (len(started), len(refused))
    assert "is queued; it needs no resuming" in refused[0]


def test_a_process_whose_run_was_resumed_by_another_never_begins(run, settings):
    """Two machines resumed it at once: the status names one attempt, and the other process writes nothing."""
    lost, won = jobs.claim(run, settings), jobs.prepare_resume(run)
    before = run.store.read("status.json")

    with pytest.raises(TakenOver, match="Another process goes on"), Reporter(run, attempt=lost):
        pytest.fail("it began")

    assert before == run.store.read("status.json")
    with Reporter(run, attempt=won):
        assert "queued" == run.status().state


def work_until_told(run, meanwhile):
    """A run whose process looks up now and then."""
    with Reporter(run, heartbeat=0.05) as told:
        told.stage("head", "Fitting.")
        meanwhile()
        for _ in range(1000):
            told.advance(1, 2)
            time.sleep(0.01)


def test_the_heartbeat_of_a_process_thought_lost_leaves_the_new_status_alone(run):
    """It slept through its resume: on waking it stops, and neither a heartbeat nor its last word is written."""
    with pytest.raises(TakenOver):
        work_until_told(run, lambda: jobs.prepare_resume(run))

    assert ("queued", "Its process is starting again.") == (run.status().state, run.status().message)


def test_nothing_to_go_on_from_is_written_by_a_process_that_lost_its_run(run):
    """Asked before each checkpoint, since a heartbeat may be seconds away."""
    with Reporter(run, heartbeat=60) as told:
        told._ended.set()  # no heartbeat looks meanwhile
        jobs.prepare_resume(run)

        with pytest.raises(TakenOver):
            told.confirm()


@pytest.mark.parametrize("cause", ["cancel", "taken over"])
def test_a_process_of_its_own_that_does_not_look_up_is_ended(run, monkeypatch, cause):
    """While TensorFlow loads or exports nothing looks; a request, or another process, still has its way in seconds."""
    left = threading.Event()
    monkeypatch.setattr(reporter.os, "_exit", lambda code: left.set())
    monkeypatch.setattr(reporter, "GRACE_SECONDS", 0.2)
    with Reporter(run, owns_process=True, heartbeat=0.1) as told:
        told.stage("export", "Long.")
        if cause == "cancel":
            run.write_json("cancel.json", {})
        else:
            jobs.prepare_resume(run)
        assert left.wait(10)
        written = run.written_status()

    assert ("cancelled" if cause == "cancel" else "queued") == written.state
    assert not run.cancel_asked()


class TestLost:
    """Silence on another machine, whatever the clocks say."""

    @pytest.fixture
    def away(self, run):
        """A function that writes the status as a process of another machine whose clock is off by some seconds."""

        def beat(clock: float, age: float = 0.0):
            run.write_status(Status("running", heartbeat=time.time() + clock, pid=7, host="pod"))
            when = time.time() - age
            os.utime(run.store.local_path("status.json"), (when, when))
            return run.status().state

        return beat

    def test_a_pod_whose_clock_is_behind_is_not_lost(self, away):
        """It wrote its status this moment, as the store knows."""
        assert "running" == away(clock=-35)

    def test_a_pod_whose_clock_is_ahead_is_lost_when_it_falls_silent(self, away):
        """Its heartbeat lies in the future for an hour yet."""
        assert "lost" == away(clock=3600 - 40, age=40)

    def test_a_heartbeat_that_moves_between_two_looks_is_life_and_one_that_stays_is_none(self, run):
        """Where one's own clock is off, so that even the store's time does not help."""
        now, clock = time.time() + 3600, iter([0.0, 5.0, 60.0]).__next__
        first = Status("running", heartbeat=time.time(), host="pod")
        second = dataclasses.replace(first, heartbeat=first.heartbeat + 5)

        assert silence.seconds(run.store, first, now, clock) > 3000
        assert 5 == silence.seconds(run.store, second, now, clock)
        assert 60 == silence.seconds(run.store, second, now, clock)


def test_another_users_process_is_asked_by_the_file_alone(run, monkeypatch):
    """It cannot be signalled; the request stays beside its status, and nobody sees a traceback."""
    monkeypatch.setattr(process.os, "kill", lambda *_: (_ for _ in ()).throw(PermissionError()))
    began = process.started_at(os.getpid())
    run.write_status(
        Status("running", heartbeat=time.time(), pid=os.getpid(), process_start=began, host=process.host(),
               owns_process=True)
    )  # fmt: skip

    assert "cancelling" == jobs.cancel(run).state
    assert run.cancel_asked()


def test_a_cancelled_run_is_cancelled_once(run):
    """The last word of the process that was asked is its own."""
    with pytest.raises(Cancelled):
        work_until_told(run, lambda: run.write_json("cancel.json", {}))

    assert "cancelled" == run.status().state
