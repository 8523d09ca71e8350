"""The reporter: every way out of a run leaves a state and a sentence."""

import contextlib
import errno
import threading
import time

import pytest

from visrec.errors import InputError, OutsideError
from visrec.runs import jobs
from visrec.runs.queue import Ticket
from visrec.runs.record import Runs
from visrec.runs.reporter import Cancelled, Reporter
from visrec.storage.folder import FolderStore


@pytest.fixture
def run(tmp_path):
    """A run that has not begun."""
    return Runs(FolderStore(tmp_path / "runs", create=True), tmp_path / "cache").create({"kind": "trained"})


def test_a_run_that_ends_well_is_done(run):
    """The last status is complete: progress 1, time of the end."""
    with Reporter(run) as reporter:
        reporter.stage("prepare", "Reading.")
        reporter.advance(1, 2)
        assert 0 < reporter.status.progress < 1

    status = run.status()
    assert (status.state, status.progress, status.finished) == ("done", 1.0, True)
    assert "[prepare] Reading." in run.log()
    assert set(reporter.seconds) == {"prepare"}


def test_the_bar_is_divided_by_the_seconds_each_stage_is_expected_to_take(run):
    """Half-way through a stage that takes nine tenths of the time, the whole is about half done, not a quarter."""
    with Reporter(run) as reporter:
        reporter.use_stages({"prepare": 10.0, "fine_tune": 180.0, "export": 10.0})
        seen = []
        for stage in ("prepare", "fine_tune", "export"):
            reporter.stage(stage, "Working.")
            reporter.advance(1, 2)
            seen.append(reporter.status.progress)

    assert seen == pytest.approx([0.025, 0.5, 0.975])


def test_the_time_left_of_a_resumed_stage_is_told_by_the_pace_of_this_process(run, monkeypatch):
    """Half of the work was found done: after ten more of a hundred steps in twenty seconds, forty remain: 80 s."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Reporter(run, heartbeat=3600) as reporter:
        reporter.stage("fine_tune", "Goes on.")
        reporter.advance(50, 100)
        assert reporter.status.stage_left is None
        now += 20
        reporter.advance(60, 100)
        assert reporter.status.stage_left == pytest.approx(80)


def fail(run, error):
    """A run in which ``error`` happens."""
    with Reporter(run) as reporter:
        reporter.stage("head", "Fitting.")
        raise error


def work_until_cancelled(run):
    """A run that is asked to stop, by a file, while it works."""
    with Reporter(run, heartbeat=0.05) as reporter:
        reporter.stage("head", "Fitting.")
        jobs.cancel(run)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            reporter.advance(1, 2)
            time.sleep(0.01)


def wait_when_asked_to_stop(run, position):
    """A run that is asked to stop while it waits for its turn."""
    with Reporter(run) as reporter:
        reporter.ask_to_stop()
        reporter.wait_for_turn(position, poll=0.05)


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (InputError("The column is wrong."), "failed", "The column is wrong."),
        (RuntimeError("boom"), "failed", "boom"),
        (MemoryError(), "failed", ""),
        (Cancelled("x"), "cancelled", "what was reached is kept"),
        (KeyboardInterrupt(), "cancelled", "what was reached is kept"),
    ],
)
def test_every_failure_leaves_a_state_and_a_sentence(run, error, state, said):
    """Never a run that claims to be running when its process has ended."""
    with pytest.raises(type(error)):
        fail(run, error)

    assert run.status().state == state
    assert said in run.status().message


def test_a_cancel_request_is_heard_without_a_signal(run):
    """A run in a bucket, or inside another program, is stopped by a file beside its status."""
    with pytest.raises(Cancelled):
        work_until_cancelled(run)

    assert run.status().state == "cancelled"
    assert not run.cancel_asked()


def test_the_heartbeat_goes_on_while_the_work_is_silent(run):
    """Silence must mean that the process is gone, not that an epoch is long."""
    with Reporter(run, heartbeat=0.05) as reporter:
        reporter.stage("fine_tune", "One long epoch.")
        before = run.status().heartbeat
        time.sleep(0.4)

        assert run.status().heartbeat > before


def test_the_second_run_waits_for_the_first(run, tmp_path):
    """Two trainings at once on two cores would make both late."""
    first = Ticket(tmp_path / "queue", "first")
    ticket = Ticket(tmp_path / "queue", run.id)
    threading.Timer(0.3, first.close).start()

    with Reporter(run) as reporter:
        seen = []
        reporter._listen = seen.append
        reporter.wait_for_turn(ticket.position, poll=0.05)

    assert [s.state for s in (seen[0], seen[-1])] == ["queued", "running"]
    assert seen[0].position == 1
    assert "one trains at a time" in seen[0].message
    ticket.close()


def test_a_waiting_run_can_be_cancelled(run, tmp_path):
    """Nobody should have to wait for the queue only to leave it."""
    first, ticket = Ticket(tmp_path / "queue", "first"), Ticket(tmp_path / "queue", run.id)

    with pytest.raises(Cancelled):
        wait_when_asked_to_stop(run, ticket.position)

    assert run.status().state == "cancelled"
    first.close()
    ticket.close()


def test_a_waiting_run_writes_its_status_when_its_place_changes_and_outlives_a_store_that_hiccups(run, monkeypatch):
    """Two writes a second for hours help nobody; the heartbeat says that it is there."""
    written, places, write = [], iter([2, 2, 2, 1, 1, 0]), run.write_status

    def flaky(status):
        written.append(status.position)
        if status.position == 2:
            raise OutsideError("The store cannot be reached.")
        write(status)

    with Reporter(run, heartbeat=60) as reporter:
        monkeypatch.setattr(run, "write_status", flaky)
        reporter._ended.set()  # no heartbeat in between
        reporter.wait_for_turn(lambda: next(places), poll=0.01)

        assert [2, 1, 0] == written


def test_a_full_disk_still_leaves_the_sentence(run, monkeypatch):
    """The log is what needs room: the status comes first, and a log that cannot be written hides nothing."""

    def full(self, line):
        if "[head]" not in line:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("visrec.runs.reporter._Log.add", full)
    with pytest.raises(RuntimeError):
        fail(run, RuntimeError("boom"))

    assert ("failed", "boom") == (run.status().state, run.status().error)


def spend(run, seconds, monkeypatch, fails=True, **options):
    """A process of a run whose stages take so long; the last one fails unless told otherwise."""
    clock = [0.0]
    with monkeypatch.context() as patched:
        patched.setattr("visrec.runs.reporter.time.monotonic", lambda: clock[0])
        with contextlib.suppress(RuntimeError), Reporter(run, heartbeat=3600, **options) as reporter:
            reporter._ended.set()
            for stage, took in seconds.items():
                reporter.stage(stage, "Working.")
                clock[0] += took
            if fails:
                raise RuntimeError("cut")
        return reporter.seconds


def test_a_resumed_run_counts_the_seconds_of_all_its_processes(run, monkeypatch):
    """What was kept of the first is not done again, so its time belongs to the run; what is done again counts once."""
    keep = {"keep": lambda seconds: run.update(seconds=seconds)}
    spend(run, {"prepare": 30.0, "features": 100.0, "head": 7.0, "predict": 20.0, "export": 1.0}, monkeypatch, **keep)
    again = {"prepare": 0.5, "features": 1.0, "head": 8.0, "predict": 21.0}
    found = spend(run, again, monkeypatch, fails=False, before=run.record["seconds"], **keep)

    assert {"prepare": 30.5, "features": 101.0, "head": 8.0, "predict": 21.0} == {k: found[k] for k in again}
