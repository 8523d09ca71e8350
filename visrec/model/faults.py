"""Faults: what went wrong in a training, as a sentence that says how to go on."""

import errno

from visrec.errors import VisrecError

OUT_OF_MEMORY = ("ResourceExhaustedError", "OOM when", "RESOURCE_EXHAUSTED", "Cannot allocate memory")
"""How TensorFlow, JAX and the system say that there is no memory left."""


def sentence(error: BaseException) -> str:
    """A sentence for a user.

    >>> sentence(OSError(errno.ENOSPC, "No space left on device"))
    'The disk is full. Free some space (the cache and old runs are the large folders), then resume.'
    """
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in str(error):
        return "The disk is full. Free some space (the cache and old runs are the large folders), then resume."
    if isinstance(error, VisrecError):
        return str(error)
    if isinstance(error, MemoryError) or any(word in f"{type(error).__name__} {error}" for word in OUT_OF_MEMORY):
        return "Memory ran out. Choose a smaller batch size or image size in a new run, or resume on a larger machine."
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return (
        f"The training stopped on a fault of its own ({type(error).__name__}: {first}). The log has the details; "
        "resume goes on from the last checkpoint."
    )
