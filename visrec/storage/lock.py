"""A lock between processes, held as long as its holder lives: the system frees it, however the process ends."""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from visrec.errors import RunError


@contextlib.contextmanager
def file_lock(path: Path, stop: Callable[[], bool] | None = None, doing: str = "does the same") -> Iterator[None]:
    """Hold the lock; wait while another process holds it, until ``stop`` says to give up."""
    with open(path, "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop and stop():
                    raise RunError(f"Cancelled while another process {doing}.") from None
                time.sleep(0.2)
        yield
