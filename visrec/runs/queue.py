"""The queue: one training at a time has the machine, the others wait in the order in which they came.

Each run that wants the machine holds a ticket, a numbered file on which its process holds a lock. The system
drops the lock when the process ends, however it ends, so a ticket without a lock is litter and is swept away.
It is a run's turn when fewer than ``slots`` live tickets lie before its own.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class Ticket:
    """A place in the queue; give it back with `close`, or by ending the process.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> first, second = Ticket(folder, "a"), Ticket(folder, "b")
    >>> first.position(), second.position()
    (0, 1)
    >>> first.close(); second.position()
    0
    """

    def __init__(self, folder: Path, run_id: str):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with _mutex(folder):
            number = 1 + max((_number(p) for p in folder.glob("*.ticket")), default=0)
            self.path = folder / f"{number:012d}-{run_id}.ticket"
            self._file = self.path.open("w")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._file.write(str(os.getpid()))
            self._file.flush()

    def position(self, slots: int = 1) -> int:
        """How many runs must end before it is this one's turn; 0 = now."""
        ahead = [path for path in waiting(self._folder) if _number(path) < _number(self.path)]
        return max(0, len(ahead) - slots + 1)

    def close(self) -> None:
        """Leave the queue."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def waiting(folder: Path) -> list[Path]:
    """The live tickets, first come first; dead ones are removed on the way."""
    if not folder.is_dir():
        return []
    with _mutex(folder):
        return [path for path in sorted(folder.glob("*.ticket"), key=_number) if _live(path)]


def run_ids(folder: Path) -> list[str]:
    """The runs that train or wait on this machine, in order."""
    return [path.stem.partition("-")[2] for path in waiting(folder)]


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def _live(path: Path) -> bool:
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    path.unlink(missing_ok=True)
    return False


@contextlib.contextmanager
def _mutex(folder: Path) -> Iterator[None]:
    """One at a time draws or counts tickets, so that two starts at once cannot both be first."""
    with (folder / ".mutex").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
