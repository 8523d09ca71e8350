"""The reporter: how a training process tells the world how far it is, and hears that it should stop.

The training code calls `stage`, `advance`, `log` and `epoch`; a small thread writes the status with a heartbeat,
so that silence means that the process is gone and not that an epoch is long. Nothing here is about models.
"""

import contextlib
import os
import secrets
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from visrec.errors import InputError, RunError
from visrec.runs import process
from visrec.runs.record import Run, finish
from visrec.runs.status import HEARTBEAT_SECONDS, Status

SHARES = {"prepare": 0.08, "features": 0.27, "head": 0.05, "fine_tune": 0.45, "predict": 0.1, "export": 0.05}
"""Rough share of the whole that each stage takes, for one bar over all stages, until an estimate is at hand."""


STOPPED = "Cancelled; what was reached is kept."
GRACE_SECONDS = 4.0
"""A process of its own that was asked to stop and does not look up is ended after so long; with the time until the
request is seen this keeps a cancel through a bucket under 10 s."""
REUSED = ("prepare", "features")
"""Stages whose work a resumed run finds done; of fine-tuning a checkpoint knows how much (`restore_seconds`)."""


class Cancelled(RunError):
    """The user asked the run to stop."""


class TakenOver(Cancelled):
    """Another process goes on with the run."""


class Reporter:
    """Writes ``status.json``, ``history.csv`` and ``run.log`` of one run; use it as a context.

    Leaving the context writes the last status: done, cancelled, or failed with a sentence.

    Parameters
    ----------
    run : the run to report on
    owns_process : this process does nothing else, and may be ended by a signal
    listen : also called with each new Status, e.g. to draw a bar in a terminal
    explain : turns an exception into a sentence for a user
    resumable : whether there will be a checkpoint to go on from
    device_memory : gives the bytes in use on the GPU, None without one
    attempt : which start or resume of the run this is; empty = a new one, and any process before it must stop
    before : seconds of each stage that an earlier process of the run has spent
    keep : called with the seconds of each stage, whenever one ends
    """

    def __init__(
        self,
        run: Run,
        *,
        owns_process: bool = False,
        listen: Callable[[Status], None] | None = None,
        explain: Callable[[BaseException], str] = str,
        shares: Mapping[str, float] = SHARES,
        heartbeat: float = HEARTBEAT_SECONDS,
        resumable: bool = True,
        device_memory: Callable[[], int | None] = lambda: None,
        attempt: str = "",
        before: Mapping[str, float] | None = None,
        keep: Callable[[dict[str, float]], None] = lambda seconds: None,
    ):
        self.run = run
        self.seconds: dict[str, float] = dict(before or {})
        self._earlier = set(self.seconds) - set(REUSED)
        self._keep = keep
        self._listen = listen
        self._explain = explain
        self._shares = dict(shares)
        self._heartbeat = heartbeat
        self._device_memory = device_memory
        self._lock = threading.RLock()
        self._asked = threading.Event()
        self._asked_since: float | None = None
        self._taken_over = threading.Event()
        self._new = not attempt
        self._ended = threading.Event()
        self._log = _Log(run)
        self._history: list[dict[str, Any]] = []
        self._stage_began = time.monotonic()
        self._first: tuple[float, float] | None = None
        now = time.time()
        pid, began = _this_process()
        self.status = Status(
            "queued", started=now, heartbeat=now, pid=pid, process_start=began, host=process.host(),
            owns_process=owns_process, message="Starting.", resumable=resumable,
            attempt=attempt or secrets.token_hex(8),
        )  # fmt: skip
        self._thread = threading.Thread(target=self._beat, name="visrec-heartbeat", daemon=True)

    def __enter__(self) -> "Reporter":
        if self._new:
            self.run.write_status(self.status)
        self.confirm()
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> bool:
        self._close_stage()
        self._ended.set()
        self._thread.join(timeout=30)
        if self._taken():
            return False
        state, message, fault = self._outcome(error)
        with self._lock:  # the status first: on a full disk there may be room for it and none for the log
            self.status = finish(self.status, state, message, now=time.time(), error=fault)
            self._write()
        with contextlib.suppress(OSError):
            if error is not None and state == "failed":
                self.log("".join(traceback.format_exception(error)).rstrip())
            self.log(message)
            self._log.flush()
        if state == "cancelled":
            self.run.store.delete("cancel.json")
        return False

    def wait_for_turn(self, position: Callable[[], int], poll: float = 0.5, slots: int = 1) -> None:
        """Stay queued until ``position()`` is 0; ``slots`` of them may train at a time."""
        shown = 0
        while ahead := position():
            if ahead != shown:  # the heartbeat writes as well: a long wait need not be written anew at every look
                self._tell_position(ahead, slots)
                shown = ahead
            self._asked.wait(poll)
            self.check()
        self._change(position=0, state="running", message="Its turn.")

    def _tell_position(self, ahead: int, slots: int) -> None:
        runs = "one run" if ahead == 1 else f"{ahead} runs"
        rule = "one trains" if slots == 1 else f"{slots} train"
        self._change(write=False, position=ahead, message=f"Waits for {runs} before it; {rule} at a time.")
        try:
            self._write()
        except OSError as error:  # the next heartbeat tells it: a store that hiccups must not end a run that waits
            self._complain(error)

    def use_stages(self, seconds: Mapping[str, float]) -> None:
        """Only these stages will come, and take about so long; one bar over all of them is divided accordingly."""
        self._shares = {name: max(0.1, took) for name, took in seconds.items()}

    def stage(self, name: str, message: str) -> None:
        """Begin a stage; the one before ends and its seconds are kept."""
        self._close_stage()
        self._keep(dict(self.seconds))
        if name in self._earlier:  # an earlier process did it, and its work is done again
            self.seconds.pop(name, None)
            self._earlier.discard(name)
        self._stage_began, self._first = time.monotonic(), None
        self.log(f"[{name}] {message}")
        self._change(
            state="running", stage=name, stage_progress=0.0, stage_left=None, message=message,
            progress=self._before(name),
        )  # fmt: skip
        self.check()

    def advance(self, done: float, total: float, message: str | None = None) -> None:
        """So much of the stage is done. Raises `Cancelled` when asked to stop."""
        share = min(1.0, done / total) if total else 1.0
        left = self._left(share)
        stage = self.status.stage
        progress = self._before(stage) + share * self._shares.get(stage, 0) / self._total()
        changes = {"stage_progress": share, "stage_left": left, "progress": min(1.0, progress)}
        self._change(write=False, **changes, **({"message": message} if message else {}))
        self.check()

    def log(self, line: str) -> None:
        """Add a line, with the time, to ``run.log``."""
        self._log.add(f"{datetime.now():%H:%M:%S} {line}")

    def epoch(self, row: dict[str, Any], write: bool = True) -> None:
        """Add a row to ``history.csv``; written at once, so that a page can draw it."""
        self._history.append(row)
        if write:
            self.write_history()

    def write_history(self) -> None:
        """Write ``history.csv`` with all rows so far."""
        import pandas as pd

        self.run.write_table("history.csv", pd.DataFrame(self._history))

    def restore_history(self, rows: list[dict[str, Any]]) -> None:
        """Go on after these rows (a resumed run)."""
        self._history = list(rows)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows written so far."""
        return list(self._history)

    def closed_seconds(self) -> dict[str, float]:
        """Seconds of each stage so far, the one going on included."""
        stage = self.status.stage
        spent = time.monotonic() - self._stage_began
        return {**self.seconds, stage: round(self.seconds.get(stage, 0.0) + spent, 3)} if stage else self.seconds

    def restore_seconds(self, stage: str, seconds: float) -> None:
        """An earlier process has spent so long on what a checkpoint of this stage holds."""
        self.seconds[stage] = seconds

    def ask_to_stop(self) -> None:
        """Stop at the next step; safe to call from a signal handler."""
        self._asked.set()

    def stop(self) -> bool:
        """Whether somebody asked this run to stop."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when asked to stop."""
        if self._taken_over.is_set():
            raise TakenOver(f"Another process goes on with run '{self.run.id}'; this one leaves it alone.")
        if self.stop():
            raise Cancelled(f"Run '{self.run.id}' was cancelled.")

    def confirm(self) -> None:
        """Raise `TakenOver` when another process has the run by now; ask before writing what it would go on from."""
        self._taken()
        self.check()

    def _left(self, share: float) -> float | None:
        """Seconds until the stage ends, by the pace since its first sign; a resumed one begins in the middle."""
        now = time.monotonic()
        self._first = self._first or (share, now)
        done, spent = share - self._first[0], now - self._first[1]
        return spent * (1 - share) / done if done > 0 and spent > 1 else None

    def _outcome(self, error: BaseException | None) -> tuple[str, str, str]:
        if error is None:
            return "done", "Done.", ""
        if isinstance(error, Cancelled | KeyboardInterrupt) or self.stop():
            return "cancelled", STOPPED, ""
        sentence = self._explain(error)
        return "failed", sentence, sentence

    def _close_stage(self) -> None:
        if stage := self.status.stage:
            spent = time.monotonic() - self._stage_began
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + spent, 3)

    def _before(self, stage: str) -> float:
        names = list(self._shares)
        return sum(self._shares[n] for n in names[: names.index(stage)]) / self._total() if stage in names else 0.0

    def _total(self) -> float:
        return sum(self._shares.values()) or 1.0

    def _change(self, write: bool = True, **values: Any) -> None:
        with self._lock:
            self.status = replace(self.status, **values)
            if write:
                self._write()
        if self._listen:
            self._listen(self.status)

    def _write(self) -> None:
        with self._lock:
            if not self._taken():
                self.status = replace(self.status, heartbeat=time.time())
                self.run.write_status(self.status)

    def _taken(self) -> bool:
        """Whether the status names another attempt: a resume thought this process lost, and has started another."""
        if not self._taken_over.is_set():
            with contextlib.suppress(InputError, OSError):  # not there, damaged or out of reach: nothing is known
                if self.run.written_status().attempt != self.status.attempt:
                    self._taken_over.set()
                    self._asked.set()
        return self._taken_over.is_set()

    def _beat(self) -> None:
        """Every second look for a cancel request on this machine (every few in a bucket), and give a sign."""
        local = self.run.store.local_path("status.json") is not None
        tick = min(1.0, self._heartbeat) if local else self._heartbeat / 2
        told = time.monotonic()
        while not self._ended.wait(min(0.5, tick) if self.stop() else tick):
            try:
                if self.run.cancel_asked():
                    self._asked.set()
                if local or time.monotonic() - told >= self._heartbeat:
                    self._give_sign()
                    told = time.monotonic()
                self._end_if_deaf()
            except Exception as error:  # a store that hiccups must not silence the heartbeat for good
                self._complain(error)

    def _give_sign(self) -> None:
        with self._lock:
            self.status = replace(self.status, memory=process.memory(), device_memory=self._device_memory())
            self._write()
        if not self._taken_over.is_set():
            self._log.flush()

    def _end_if_deaf(self) -> None:
        """End a process that was asked to stop and does not: nothing looks while TensorFlow loads, traces or exports.

        One whose run another process has by now ends at once.
        """
        if not (self.stop() and self.status.owns_process) or self._ended.is_set():
            return
        if self._taken_over.is_set():
            os._exit(RunError.exit_code)
        self._asked_since = self._asked_since or time.monotonic()
        if time.monotonic() - self._asked_since < GRACE_SECONDS:
            return
        with self._lock:
            self.status = finish(self.status, "cancelled", STOPPED, now=time.time())
            self._write()
        self.run.store.delete("cancel.json")
        os._exit(RunError.exit_code)

    def _complain(self, error: BaseException) -> None:
        print(f"visrec: could not write the status of run {self.run.id}: {error}", file=sys.stderr)


class _Log:
    """``run.log``: appended on this machine; uploaded anew, when it grew, for a run in a bucket."""

    def __init__(self, run: Run):
        self._run = run
        self._lock = threading.Lock()
        self._path = run.store.local_path("run.log")
        self._lines: list[str] = []
        self._dirty = False
        if self._path is None and run.has("run.log"):
            self._lines = run.log(None).splitlines()

    def add(self, line: str) -> None:
        with self._lock:
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
                return
            self._lines.append(line)
            self._dirty = True

    def flush(self) -> None:
        with self._lock:
            if not self._dirty:
                return
            text, self._dirty = "\n".join(self._lines) + "\n", False
        self._run.store.write("run.log", text.encode())


def _this_process() -> tuple[int, float | None]:
    return os.getpid(), process.started_at(os.getpid())
