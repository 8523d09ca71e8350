"""The queue: first come, first served, and nobody waits for the dead."""

import subprocess
import sys

from visrec.runs.queue import Ticket, run_ids

HOLD = "import sys; from pathlib import Path; from visrec.runs.queue import Ticket; "
HOLD += "t = Ticket(Path(sys.argv[1]), 'other'); print('held', flush=True); sys.stdin.read()"


def test_order_is_that_of_arrival(tmp_path):
    """The order shown is the order in which runs will start."""
    tickets = [Ticket(tmp_path, name) for name in "abc"]

    assert run_ids(tmp_path) == ["a", "b", "c"]
    assert [t.position() for t in tickets] == [0, 1, 2]
    assert [t.position(slots=2) for t in tickets] == [0, 0, 1]
    for ticket in tickets:
        ticket.close()


def test_a_killed_process_leaves_the_queue(tmp_path):
    """After kill -9 the next run starts; no file has to be removed by hand."""
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    mine = Ticket(tmp_path, "mine")
    assert mine.position() == 1

    other.kill()
    other.wait()

    assert mine.position() == 0
    assert run_ids(tmp_path) == ["mine"]
    mine.close()
