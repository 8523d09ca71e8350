"""The doctor reads a bucket's labels and looks at its images, and names every problem before an hour of training does.

It changes nothing. What is safe to mend is mended on reading and named; what leaves a choice says so, and the choice in
force; the rest is advice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from visrec.data.decisions import load_decisions
from visrec.data.examine_images import image_problems
from visrec.data.examine_labels import label_distribution_problems
from visrec.data.layouts import read_bucket
from visrec.data.problems import Problem, sort_problems
from visrec.data.scan import scan
from visrec.data.summary import summarise
from visrec.data.table import BucketTable
from visrec.errors import InputError, nearest
from visrec.storage.base import Store


@dataclass(frozen=True)
class Inspection:
    """A bucket's table, the facts of its images (see `visrec.data.scan`), all problems, gravest first, and what was
    asked: the decisions in force and the column to predict."""

    table: BucketTable
    facts: pd.DataFrame
    problems: list[Problem]
    decisions: Mapping[str, str]
    target: str | None = None

    def to_json(self) -> dict:
        """The document of ``visrec inspect --json``."""
        document = summarise(self.table, self.target)
        bad = int((self.facts["status"] != "ok").sum())
        return {
            **document,
            "unusable": bad,
            "problems": [problem.to_dict() for problem in self.problems],
            "decisions": dict(self.decisions),
        }


def inspect(
    store: Store,
    *,
    layout: str | None = None,
    decisions: Mapping[str, str] | None = None,
    target: str | None = None,
    by: Sequence[str] | None = None,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Inspection:
    """Read and look at a whole bucket.

    Parameters
    ----------
    store : the bucket
    layout : read it as this layout
    decisions : problem kind -> choice, over those of the bucket's ``visrec.toml``; default: those kept in the cache
    target, by : column to predict and attributes to watch; default: the bucket's own
    cache_dir : where decisions and facts of images are kept; None keeps nothing
    progress, stop : called with (done, total) images; asked whether to end

    Raises
    ------
    InputError
        No such column to predict or to watch; and what `visrec.data.layouts.read_bucket` raises.
    """
    if decisions is None:
        decisions = load_decisions(cache_dir, store.url) if cache_dir else {}
    table = read_bucket(store, layout=layout, decisions=decisions)
    target = table.target if target is None else _column(target, table, "to predict")
    by = [_column(name, table, "to watch") for name in (table.defaults.get("by", []) if by is None else by)]
    facts = scan(store, table.objects, table.images, cache_dir, progress=progress, stop=stop)
    problems = [
        *table.problems,
        *image_problems(table, facts, target),
        *label_distribution_problems(table, target, by),
    ]
    return Inspection(table, facts, sort_problems(problems), table.decisions, target)


def _column(name: str, table: BucketTable, use: str) -> str:
    columns = table.samples.columns.drop(["file", "split"])
    if name not in columns:
        raise InputError(f"There is no column '{name}' {use} in {table.url}. {nearest(name, columns)}")
    return name
