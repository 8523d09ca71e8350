"""Status: what a run is said to be, for each thing that can have happened to its process."""

import pytest

from visrec.runs.status import ACTIVE, FINISHED, NEXT_ACTION, STATES, Status, derive


def here(status):
    """The process can be seen, and lives."""
    return True


def gone(status):
    """The process could be seen, and is not there."""
    return False


def elsewhere(status):
    """The process runs on another machine."""


@pytest.mark.parametrize(
    ("state", "silent", "asked", "alive", "expected"),
    [
        ("running", 3, False, here, "running"),
        ("running", 3, False, gone, "lost"),
        ("running", 29, False, elsewhere, "running"),
        ("running", 31, False, elsewhere, "lost"),
        ("running", 300, False, here, "running"),
        ("queued", 300, False, here, "queued"),
        ("queued", 31, False, elsewhere, "lost"),
        ("running", 3, True, here, "cancelling"),
        ("running", 3, True, gone, "cancelled"),
        ("running", 31, True, elsewhere, "cancelled"),
        ("done", 1e6, False, gone, "done"),
        ("failed", 1e6, True, gone, "failed"),
    ],
)
def test_state_follows_from_heartbeat_process_and_request(state, silent, asked, alive, expected):
    """A silent or vanished process is never shown as running; a finished run stays what it was."""
    status = derive(Status(state, heartbeat=1000.0), now=1000.0 + silent, cancel_asked=asked, alive=alive)

    assert status.state == expected


def test_every_state_has_a_next_action():
    """Each state's page says what can be done now."""
    assert set(NEXT_ACTION) == set(STATES) == ACTIVE | FINISHED
    assert all(Status(state).next_action for state in STATES)


def test_status_survives_its_file_and_a_newer_version():
    """A replica of another version may have written keys that this one does not know."""
    status = Status("running", stage="head", progress=0.5, pid=7, host="a")

    assert Status.from_json({**status.to_json(), "novelty": 1}) == status
