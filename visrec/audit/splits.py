"""Which rows may be audited: those on which nothing was chosen, the split ``test``, else ``val``.

Rows a model was fitted or tuned on flatter it, so they are audited only when asked for by name.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from visrec.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "split"
AUDITED = ("test", "val")
SEEN_IN_TRAINING = {"train", "tune"}


def choose_split(names: Iterable[str]) -> str | None:
    """The split to audit unless one was named; None for rows without splits.

    Raises
    ------
    InputError
        If training has seen all of them.

    Examples
    --------
    >>> choose_split(["train", "val"]), choose_split([]), choose_split(["fold1", "fold2"])
    ('val', None, None)
    """
    there = {name for name in names if name}
    for split in AUDITED:
        if split in there:
            return split
    if there and there <= SEEN_IN_TRAINING:
        raise InputError(
            f"These predictions have the splits {', '.join(sorted(there))}, all of which training has seen; "
            "expected test or val. Ask for one by name with --split to audit it all the same."
        )
    return None


def default_split(source: "Path | str | pd.DataFrame") -> str | None:
    """`choose_split` for a table: of its column ``split``, if it has one; reads no other column."""
    from visrec.audit.sources import open_source

    table = open_source(source)
    if COLUMN not in table.columns:
        return None
    names: set[str] = set()
    for batch in table.batches([COLUMN]):
        names |= {str(value) for value in batch.column(COLUMN).unique().to_pylist() if value is not None}
    return choose_split(names)
