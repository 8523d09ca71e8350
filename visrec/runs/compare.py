"""Comparing runs: two of them on the same images, and the settings in which they differ.

The first run is the one to compare with, the second the one that may be better; each brings the rows that may be
audited (`visrec.audit.splits`), and the two are paired image by image (`visrec.audit.paired`).
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from visrec.errors import InputError
from visrec.runs.record import Run

if TYPE_CHECKING:
    from visrec.audit.paired import Paired


def compare_runs(
    a: Run, b: Run, *, by: Sequence[str] | None = None, split: str | None = None, min_count: int = 30, seed: int = 0
) -> "Paired":
    """Two runs on the images that both answered.

    Parameters
    ----------
    by : attributes that make cells; None = as `default_by` says
    split, min_count, seed : as in `visrec.audit.paired.compare`

    Raises
    ------
    NotFoundError
        If one has no predictions yet.
    InputError
        If they are one and the same, have no image in common, or predict different things.
    """
    from visrec.audit import paired

    if a.id == b.id:
        raise InputError(f"'{a.name}' ({a.id}) was named twice; a comparison needs two runs. `visrec runs` lists them.")

    first, second = a.predictions(), b.predictions()
    if by is None:
        by = default_by(a.record, b.record, {*first.columns, *second.columns})
    return paired.compare(first, second, by, split=split, min_count=min_count, seed=seed)


def default_by(first: dict[str, Any], second: dict[str, Any], there: Container[str]) -> list[str]:
    """The attributes to group by unless some are named: those watched in the first run, else in the second.

    Where neither run watched any, the first two attributes of the first, else of the second.

    Parameters
    ----------
    first, second : the runs' records
    there : names of columns; others are passed over

    Examples
    --------
    >>> default_by({"attributes": ["race", "age", "gender"]}, {"by": ["age"]}, ["race", "age", "gender"])
    ['age']
    >>> default_by({"attributes": ["race", "age", "gender"]}, {}, ["race", "age", "gender"])
    ['race', 'age']
    """
    watched = first.get("by") or second.get("by") or (first.get("attributes") or second.get("attributes") or [])[:2]
    return [name for name in watched if name in there]


def document(a: Run, b: Run, found: "Paired") -> dict[str, Any]:
    """A comparison as ``visrec compare --json`` prints it."""
    from visrec.audit import paired

    first, second = a.record, b.record
    names = distinct_names(first, second)
    return {
        "a": {"run": a.id, "name": first.get("name")},
        "b": {"run": b.id, "name": second.get("name")},
        "sentence": paired.sentence(found, *names),
        **found.to_json(),
        "settings": settings_that_differ(first, second),
    }


def distinct_names(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, str]:
    """What to call two runs in a sentence: their names, with the ends of their ids where the names are the same.

    >>> distinct_names({"id": "1-aa", "name": "x"}, {"id": "2-bb", "name": "x"})
    ('x (1-aa)', 'x (2-bb)')
    """
    names = [str(record.get("name") or record.get("id")) for record in (first, second)]
    if names[0] != names[1]:
        return names[0], names[1]
    ends = [str(record.get("id"))[-4:] for record in (first, second)]
    return f"{names[0]} ({ends[0]})", f"{names[1]} ({ends[1]})"


def settings_that_differ(first: dict[str, Any], second: dict[str, Any]) -> dict[str, list]:
    """Settings of two records that are not alike, each as ``[first, second]``; one not set is None.

    >>> settings_that_differ({"settings": {"seed": 0, "alpha": 1.0}}, {"settings": {"seed": 1, "alpha": 1.0}})
    {'seed': [0, 1]}
    """
    a, b = first.get("settings") or {}, second.get("settings") or {}
    keys = [*a, *(key for key in b if key not in a)]
    return {key: [a.get(key), b.get(key)] for key in keys if a.get(key) != b.get(key)}
