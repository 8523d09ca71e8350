"""How many processors this process may use, which in a container is fewer than the machine has."""

import os


def processors() -> int:
    """Processors granted to this process, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
