"""The exceptions of visrec: each is a sentence for a user, with an exit code for a script.

A message says what came, what was expected, and how to mend it; neither a page nor the command line
ever shows a traceback for one of these.

::

    VisrecError                 70  a fault of ours, if nothing more precise is known
    ├── InputError (ValueError)  2  what the user gave is wrong: a bucket, a column, an image, an option
    │   └── NotFoundError        2  a thing named by the user does not exist (bucket, run, file)
    ├── OutsideError (OSError)   3  the world outside failed: store unreachable, wrong key, disk full
    │   ├── AccessError          3  the store answered, and refused (wrong key, no permission)
    │   └── MissingPackageError  3  an optional library is not installed
    ├── RunError                 4  a run failed, was lost or was cancelled
    └── GateError                1  a policy gate was not passed
"""

import difflib
from collections.abc import Iterable


class VisrecError(Exception):
    """A fault that visrec can describe in a sentence."""

    exit_code = 70


class InputError(VisrecError, ValueError):
    """What the user gave is wrong; the message says what was expected."""

    exit_code = 2


class NotFoundError(InputError):
    """A bucket, run, file or column of that name does not exist."""


class OutsideError(VisrecError, OSError):
    """The store, the network or the disk failed, after retries."""

    exit_code = 3


class AccessError(OutsideError):
    """The store answered and refused: wrong key, wrong secret, no permission."""


class MissingPackageError(OutsideError):
    """A library that this part needs is not installed; the message names the command that installs it."""


class RunError(VisrecError):
    """A run failed, was cancelled or was lost."""

    exit_code = 4


class GateError(VisrecError):
    """An audit did not pass its policy."""

    exit_code = 1


def nearest(name: str, known: Iterable[str], limit: int = 8) -> str:
    """Half a sentence that helps after a mistyped name: the nearest known name and what there is.

    >>> nearest("gendr", ["gender", "race"])
    "Did you mean 'gender'? There are: gender, race."
    >>> nearest("x", [])
    'There are none.'
    """
    known = [str(k) for k in known]
    if not known:
        return "There are none."
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    shown = ", ".join(known[:limit]) + (f", ... ({len(known)} in all)" if len(known) > limit else "")
    return (f"Did you mean '{close[0]}'? " if close else "") + f"There are: {shown}."
