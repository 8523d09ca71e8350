"""The watch: the accuracy of each watched cell after each epoch, on the tune rows, which are never audited.

A cell is one value of a watched attribute, or one value of each of them together. A cell without rows is unknown,
NaN; one with few rows is shown with its count and never called worst without saying that one cannot tell.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MIN_COUNT = 30
FEW = 10
ALPHA = 0.05
PREFIX = "accuracy:"


class Watch:
    """Cells of a sample table.

    Parameters
    ----------
    samples : the rows watched, with the columns ``by``
    by : watched attributes

    Examples
    --------
    >>> import pandas as pd
    >>> watch = Watch(pd.DataFrame({"race": ["a", "a", "b"]}), ["race"])
    >>> watch.accuracies([True, False, True])
    {'accuracy:race=a': 0.5, 'accuracy:race=b': 1.0}
    """

    def __init__(self, samples: "pd.DataFrame", by: Sequence[str]):
        self.cells: dict[str, np.ndarray] = {}
        sets = [[name] for name in by] + ([list(by)] if len(by) > 1 else [])
        for names in sets:
            groups = samples.reset_index(drop=True).groupby(names, sort=True, observed=True)
            for values, rows in groups.indices.items():
                values = values if isinstance(values, tuple) else (values,)
                self.cells[",".join(f"{n}={v}" for n, v in zip(names, values, strict=True))] = rows

    @property
    def counts(self) -> dict[str, int]:
        """Rows in each cell."""
        return {cell: len(rows) for cell, rows in self.cells.items()}

    def accuracies(self, correct) -> dict[str, float]:
        """A column of ``history.csv`` per cell: share of its rows that were answered rightly, 0..1; 1 = all."""
        import numpy as np

        correct = np.asarray(correct, bool)
        return {PREFIX + cell: float(correct[rows].mean()) for cell, rows in self.cells.items()}

    def worst(self, correct) -> str:
        """One sentence on the cell with the lowest accuracy, saying when it cannot be told from chance."""
        import numpy as np

        correct = np.asarray(correct, bool)
        if not self.cells or not len(correct):
            return ""
        shares = {cell: float(correct[rows].mean()) for cell, rows in self.cells.items()}
        return worst_cell(shares, self.counts, float(correct.mean()))


def worst_cell(shares: Mapping[str, float], counts: Mapping[str, int], overall: float) -> str:
    """The cell with the lowest accuracy as a sentence: its interval, and whether it can be told from the whole.

    Cells of fewer than `FEW` images are passed over while there are larger ones: one wrong answer of one is no news.
    The lowest of many cells is low by chance alone, so it is told from the whole by an interval that allows for all
    cells it was chosen from (Bonferroni); the interval shown is the audit's own, of 95 %.

    Parameters
    ----------
    shares : accuracy of each cell, 0..1
    counts : images of each cell
    overall : accuracy of all images, 0..1

    Examples
    --------
    >>> worst_cell({"race=Black,age=more than 70": 0.61, "race=White": 0.9}, {"race=Black,age=more than 70": 12}, 0.8)
    'Worst cell: Black, more than 70, 0.61 (n = 12, 0.32 to 0.81, cannot tell).'
    """
    known = {cell: share for cell, share in shares.items() if share == share and counts.get(cell)}
    if not known:
        return ""
    enough = {cell: share for cell, share in known.items() if counts[cell] >= FEW} or known
    cell = min(enough, key=lambda c: (enough[c], -counts[c]))
    share, count = enough[cell], counts[cell]
    low, high = wilson(round(share * count), count)
    tested = sum(counts[c] >= MIN_COUNT for c in enough)
    beyond = wilson(round(share * count), count, 1 - ALPHA / max(1, tested))[1]
    unsure = ", cannot tell" if count < MIN_COUNT or beyond >= overall else ""
    shown = ", ".join(values_of(cell))
    return f"Worst cell: {shown}, {share:.2f} (n = {count:,}, {low:.2f} to {high:.2f}{unsure})."


def values_of(cell: str) -> list[str]:
    """The values of a cell from its name; a value may hold commas.

    >>> values_of("race=Latino, Hispanic,age=more than 70")
    ['Latino, Hispanic', 'more than 70']
    """
    return [part.partition("=")[2] or part for part in re.split(r",(?=[^,=]*=)", cell)]


def wilson(right: int, count: int, level: float = 1 - ALPHA) -> tuple[float, float]:
    """95 % interval (unless another level is asked for) of a share, as the audit gives it; NaN without rows.

    >>> [round(v, 3) for v in wilson(8, 10)]
    [0.49, 0.943]
    """
    from visrec.audit.intervals import wilson as intervals

    low, high = intervals([right], [count], level)
    return float(low[0]), float(high[0])


def accuracy(correct) -> dict[str, float]:
    """The headline: value, interval and count."""
    import numpy as np

    correct = np.asarray(correct, bool)
    low, high = wilson(int(correct.sum()), len(correct))
    value = float(correct.mean()) if len(correct) else float("nan")
    return {"value": value, "low": low, "high": high, "n": len(correct)}
