"""A process, as this machine sees it: whether the one that was meant is still there, and how to end it.

A pid alone is not enough, since the system reuses them; together with the moment the process began it is.
"""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path


def host() -> str:
    """The name of this machine (in a pod: the pod's)."""
    return socket.gethostname()


def started_at(pid: int) -> float | None:
    """Clock ticks between boot and the start of a process; None if it is gone, a zombie, or cannot be asked."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else float(fields[19])


def memory() -> int | None:
    """Bytes that this process has for itself (resident, anonymous: memory maps of files do not count)."""
    try:
        found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def same_process(pid: int, start: float | None) -> bool:
    """Whether the process ``pid`` that began at ``start`` is still running on this machine."""
    if Path("/proc/self/stat").exists():
        now = started_at(pid)
        return now is not None and (start is None or now == start)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and another user's
        return True
    return True


def end(pid: int, start: float | None, *, patience: float, sleep=time.sleep) -> bool:
    """Ask a process to end, wait ``patience`` seconds, then kill it.

    Returns
    -------
    bool
        Whether it needed no killing; True as well for one that is not there or is another user's.
    """
    if not _signal(pid, start, signal.SIGTERM) or _gone(pid, start, patience, sleep):
        return True
    _signal(pid, start, signal.SIGKILL)
    _gone(pid, start, 5.0, sleep)
    return False


def _signal(pid: int, start: float | None, number: int) -> bool:
    if not same_process(pid, start):
        return False
    # another user's process cannot be signalled: the request that lies beside its status reaches it all the same
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


def _gone(pid: int, start: float | None, seconds: float, sleep) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(pid, os.WNOHANG)  # a child of ours would stay as a zombie
        if not same_process(pid, start):
            return True
        sleep(0.05)
    return False
