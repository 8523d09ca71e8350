"""Status: where a run stands, as one small value that any page, replica or terminal can read.

``status.json`` is written only by the process that trains, with a heartbeat every few seconds. Two states are
never written, because nobody is there to write them: *lost* (the heartbeat fell silent) and *cancelling* (a
request lies beside it that was not yet answered). They are derived on reading, by `derive`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

STATES = ("queued", "running", "cancelling", "cancelled", "failed", "lost", "done")
FINISHED = frozenset({"cancelled", "failed", "lost", "done"})
ACTIVE = frozenset({"queued", "running", "cancelling"})
STAGES = ("prepare", "features", "head", "fine_tune", "predict", "export")
HEARTBEAT_SECONDS = 5.0
LOST_AFTER_SECONDS = 30.0
"""Six heartbeats: one or two may be late on a busy machine, six are not."""

NEXT_ACTION = {
    "queued": "Waits for its turn; it can be cancelled.",
    "running": "Follow it here or close the page, it goes on; it can be cancelled.",
    "cancelling": "Stops within seconds; the last checkpoint is kept.",
    "cancelled": "Resume it from its last checkpoint, or delete it.",
    "failed": "Mend what the message names, then resume it, or delete it.",
    "lost": "Its process is gone: resume it from its last checkpoint, or delete it.",
    "done": "Audit it, explain its answers, or export its model.",
}


START_AGAIN = {
    "cancelled": "Start it again, or leave it.",
    "failed": "Mend what the message names, then start it again.",
    "lost": "Its process is gone: start it again.",
}
"""The same for what has no checkpoint to go on from, such as an atlas or an import."""


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes
    ----------
    state : one of `STATES`
    stage : one of `STAGES`, or empty before the first
    progress, stage_progress : share done of the whole run and of the stage, 0..1
    stage_left : seconds the stage will still take, as far as one can tell; None = unknown
    message : one sentence for people
    heartbeat : epoch seconds of the last sign of life
    started, finished_at : epoch seconds, None before
    pid, process_start, host : which process, and since when, so that a reused pid is not mistaken for it
    owns_process : whether the process does nothing but this run, and so may be ended by a signal
    position : place in the queue, 0 = it is this run's turn
    error : the sentence of a failure, empty otherwise
    resumable : whether it can go on from a checkpoint; otherwise it is started again
    memory, device_memory : bytes that its process has for itself, and has on the GPU; None = unknown, or no GPU
    attempt : which start or resume this is; a process that finds another one's here has lost the run to it

    Examples
    --------
    >>> Status("running", progress=0.5).finished
    False
    """

    state: str
    stage: str = ""
    progress: float = 0.0
    message: str = ""
    heartbeat: float = 0.0
    started: float | None = None
    finished_at: float | None = None
    pid: int | None = None
    host: str = ""
    error: str = ""
    process_start: float | None = None
    owns_process: bool = False
    stage_progress: float = 0.0
    stage_left: float | None = None
    position: int = 0
    resumable: bool = True
    memory: int | None = None
    device_memory: int | None = None
    attempt: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in FINISHED

    @property
    def ok(self) -> bool:
        """Whether the run came to its end with a model."""
        return self.state == "done"

    @property
    def next_action(self) -> str:
        """What a user can do now."""
        return NEXT_ACTION[self.state] if self.resumable else START_AGAIN.get(self.state, NEXT_ACTION[self.state])

    def to_json(self) -> dict[str, Any]:
        """A plain dict, for ``status.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Status":
        """The value that `to_json` gave; keys of a newer version are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})


def derive(
    status: Status,
    *,
    now: float,
    cancel_asked: bool,
    alive: Callable[[Status], bool | None],
    silent: float | None = None,
) -> Status:
    """What the state really is, given the time, a cancel request and what is known of the process.

    Parameters
    ----------
    now : epoch seconds
    cancel_asked : whether a cancel request lies beside the status
    alive : True or False when the process can be looked at from here, None when it runs elsewhere. One that is seen to
        live is never lost: its machine is so busy that even its heartbeat waits, and a second process would not help.
    silent : seconds without a sign of life (`visrec.runs.silence`); None = since its heartbeat, by one clock

    Examples
    --------
    >>> derive(Status("running", heartbeat=0), now=31, cancel_asked=False, alive=lambda s: None).state
    'lost'
    """
    if status.state not in ACTIVE:
        return status
    silent, seen = now - status.heartbeat if silent is None else silent, alive(status)
    if seen is False or (seen is None and silent > LOST_AFTER_SECONDS):
        if cancel_asked:
            return replace(
                status, state="cancelled", message="Cancelled; the process was ended.", finished_at=status.heartbeat
            )
        sentence = (
            f"Its process on {status.host or 'an unknown machine'} gave no sign of life for {silent:.0f} s"
            if silent > LOST_AFTER_SECONDS
            else "Its process ended without saying why (killed, or the machine ran out of memory)"
        )
        how = "Resume goes on from the last checkpoint." if status.resumable else "Start it again."
        message = f"{sentence}. {how}"
        return replace(status, state="lost", message=message, error=message, finished_at=status.heartbeat)
    if cancel_asked:
        return replace(status, state="cancelling", message="Stopping; what was reached is kept.")
    return status
