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
SPELLINGS = {
    "training": "train",
    "valid": "val", "validation": "val", "dev": "val",
    "testing": "test",
}  # fmt: skip
"""Other words for the splits; the same as a bucket's labels may use."""


def choose_split(names: Iterable[str]) -> str | None:
    """The split to audit unless one was named, as it is spelled there; None for rows without splits.

    Raises
    ------
    InputError
        If training has seen one and none is test or val, or the one to audit is spelled in several ways.

    Examples
    --------
    >>> choose_split(["train", "val"]), choose_split([]), choose_split(["fold1", "fold2"])
    ('val', None, None)
    >>> choose_split(["Training", "Valid"])
    'Valid'
    """
    there = sorted({name for name in names if isinstance(name, str) and name.strip()})
    for split in AUDITED:
        found = [name for name in there if meaning(name) == split]
        if len(found) > 1:
            raise InputError(
                f"These predictions spell the split {split} in several ways ({', '.join(found)}); expected one. "
                "Spell it alike, or ask for one by name with --split."
            )
        if found:
            return found[0]
    if seen := [name for name in there if meaning(name) in SEEN_IN_TRAINING]:
        raise InputError(
            f"These predictions have the splits {', '.join(there)}, and training has seen {', '.join(seen)}; "
            "expected test or val. Ask for one by name with --split to audit it all the same."
        )
    return None


def judged_split(splits: "pd.Series") -> str:
    """The split a run's own images are judged by, spelled as visrec does: test, else val.

    It is val where neither has rows.

    >>> import pandas as pd
    >>> judged_split(pd.Series(["train", "val"])), judged_split(pd.Series(["val", "test"])), judged_split(pd.Series([]))
    ('val', 'test', 'val')
    """
    return next((split for split in AUDITED if (splits == split).any()), AUDITED[-1])


def meaning(name: str) -> str:
    """What a split is called here: ``train``, ``tune``, ``val``, ``test``, or its name in small letters.

    >>> meaning(" Validation"), meaning("fold1")
    ('val', 'fold1')
    """
    word = name.strip().lower()
    return SPELLINGS.get(word, word)


def default_split(source: "Path | str | pd.DataFrame") -> str | None:
    """`choose_split` for a table: of its column ``split``, if it has one; reads no other column."""
    from visrec.audit.sources import open_source

    table = open_source(source)
    if COLUMN not in table.columns:
        return None
    names: set[str] = set()
    for batch in table.batches([COLUMN]):
        names |= {str(value).strip() for value in batch.column(COLUMN).unique().to_pylist() if value is not None}
    return choose_split(names)
