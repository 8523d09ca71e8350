"""Spellings: values that differ only in case, blanks, dashes or underscores are one value, written carelessly."""

import re
from collections.abc import Iterable

import pandas as pd

from visrec.data.problems import Problem, problem


def merge_spellings(
    samples: pd.DataFrame, columns: Iterable[str], target: str | None, decide
) -> tuple[pd.DataFrame, list[Problem], list[str]]:
    """Give each value its most frequent spelling.

    Parameters
    ----------
    samples, columns : table, and which of its columns to look at
    target : column whose finding is called ``alias_label``; elsewhere it is ``alias_value``
    decide : kind, choices -> the choice in force; ``keep`` leaves the column as it is

    Returns
    -------
    samples, problems, repairs

    Examples
    --------
    >>> table = pd.DataFrame({"label": ["cat", "cat", "Cat ", "dog"]})
    >>> merge_spellings(table, ["label"], "label", lambda kind, choices: "merge")[0]["label"].to_list()
    ['cat', 'cat', 'cat', 'dog']
    """
    problems: dict[str, list[str]] = {}
    repairs = []
    for column in columns:
        changes = other_spellings(samples[column])
        if not changes:
            continue
        kind, mend = ("alias_label", "merge") if column == target else ("alias_value", "repair")
        lines = [f"{column}: '{old}' -> '{new}'" for old, new in sorted(changes.items())]
        problems.setdefault(kind, []).extend(lines)
        if decide(kind, [mend, "keep"]) == mend:
            samples = samples.assign(**{column: samples[column].replace(changes)})
            repairs += [f"{kind}: {line}" for line in lines]
    found = [_as_problem(kind, lines, decide) for kind, lines in problems.items()]
    return samples, found, repairs


def other_spellings(values: pd.Series) -> dict[str, str]:
    """Rarer spelling -> most frequent spelling. Single characters are left alone: 'a' and 'A' may be two classes."""
    counts = values.dropna().astype("str").value_counts()
    best: dict[str, str] = {}
    changes = {}
    for value in counts.sort_index(kind="stable").sort_values(ascending=False, kind="stable").index:
        folded = re.sub(r"[\s_-]+", " ", value.strip().casefold())
        if len(folded) < 2:
            continue
        first = best.setdefault(folded, value)
        if first != value:
            changes[value] = first
    return changes


def _as_problem(kind: str, lines: list[str], decide) -> Problem:
    choices = ["merge", "keep"] if kind == "alias_label" else ["repair", "keep"]
    done = "read as one" if decide(kind, choices) != "keep" else "kept apart, as decided"
    return problem(
        kind, "info", lines, f"Different spellings of the same value; {done}. The bucket is not changed.", choices
    )
