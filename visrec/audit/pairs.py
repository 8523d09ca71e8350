"""Pairs: every two cells compared, with a test that stays honest when there are many.

A *pair* is two cells that both reach the minimum count in one rate. Its p comes from the pooled-variance score test
(Fisher's exact test where an expected count is below 5) and is Holm-adjusted over every pair and rate of the table.
"""

from typing import Any

import numpy as np
import pandas as pd

from visrec.audit import chance
from visrec.audit.cells import CellTable, binary_counts
from visrec.audit.differences import bootstrap, drawn_share, percentiles, stacked
from visrec.audit.gaps import ALPHA, CANNOT_TELL, SUPPORTED, Question, askable
from visrec.audit.intervals import holm, pair_p_values, wilson
from visrec.audit.rates import COMPLEMENT, is_correct, ratio, shares

MOST_PAIRS = 2_000
"""Pairs with the smallest p that also get a bootstrap interval, and are listed in the document."""


def pair_table(table: CellTable, question: Question) -> pd.DataFrame:
    """All pairs of all rates of one table.

    Returns
    -------
    DataFrame, sorted by p
        rate, a, b : the rate and the two cells (a has the larger value)
        value_a, value_b, n_a, n_b : the two rates and their counts
        difference, low, high : value_a - value_b and Newcombe's 95 % interval; 0 = alike
        ratio : value_b / value_a, in 0..1; 1 = alike
        boot_low, boot_high : percentiles of 2,000 multinomial draws of the table, for the first `MOST_PAIRS` rows, else
            NaN; beside Newcombe's, never instead of it: for a small or faultless cell it is too narrow (ADR 0012)
        p, exact, p_holm, verdict : see the module; ``exact`` where Fisher's test was used
    """
    known = shares(table, question.outcome, question.missing)
    alike = {*COMPLEMENT, *({"selection_rate"} if is_correct(table, question.outcome) else ())}
    names = np.array(table.names(), dtype=object)
    parts = [_pairs(rate, known[rate], names, question.min_count) for rate in askable(known) if rate not in alike]
    frame = stacked(parts) if parts else pd.DataFrame(columns=COLUMNS)
    frame["p_holm"] = holm(frame["p"])
    frame["verdict"] = np.where(frame["p_holm"] <= ALPHA, SUPPORTED, CANNOT_TELL)
    frame = frame.sort_values("p", kind="stable", ignore_index=True)
    low, high = _bootstrapped(table, question, frame.head(MOST_PAIRS))
    frame["boot_low"], frame["boot_high"] = pd.Series(low, dtype=float), pd.Series(high, dtype=float)
    return frame


COLUMNS = (
    "rate", "a", "b", "value_a", "value_b", "n_a", "n_b", "difference", "low", "high", "ratio", "p", "exact",
)  # fmt: skip


def newcombe(x1, n1, x2, n2) -> tuple[np.ndarray, np.ndarray]:
    """Newcombe's hybrid score interval for the difference of two shares, x1/n1 - x2/n2.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17, 873-890, method 10: proper where a cell has no errors at all.
    """
    (l1, u1), (l2, u2) = wilson(x1, n1), wilson(x2, n2)
    p1, p2 = np.asarray(x1) / np.asarray(n1), np.asarray(x2) / np.asarray(n2)
    low = p1 - p2 - np.sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2)
    return low, p1 - p2 + np.sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)


def _bootstrapped(table: CellTable, question: Question, pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of each difference, float64 (pairs,): the whole table redrawn, every rate from one draw."""
    counts = np.concatenate([binary_counts(table, question.outcome, question.missing), table.absent[:, None]], axis=1)
    drawn = bootstrap(counts, question.replicates, chance.generator(question.seed, *table.by, "pairs"))
    place = {name: i for i, name in enumerate(table.names())}
    a, b = (np.array([place[name] for name in pairs[column]], dtype=np.int64) for column in ("a", "b"))
    low, high = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    for rate, rows in pairs.groupby("rate", sort=False).indices.items():
        value = np.ascontiguousarray(ratio(*drawn_share(rate, drawn)).T)
        low[rows], high[rows] = percentiles((value[a[rows]] - value[b[rows]]).T)
    return low, high


def _pairs(rate: str, share, names: np.ndarray, min_count: int) -> dict[str, Any]:
    enough = np.flatnonzero(share.n >= max(min_count, 1))
    first, second = np.triu_indices(len(enough), k=1)
    first, second = enough[first], enough[second]
    value = share.value
    swap = value[first] < value[second]
    a, b = np.where(swap, second, first), np.where(swap, first, second)
    p, exact = pair_p_values(share.x[a], share.n[a], share.x[b], share.n[b])
    low, high = newcombe(share.x[a], share.n[a], share.x[b], share.n[b])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(value[a] > 0, value[b] / value[a], np.nan)
    columns = (
        rate, names[a], names[b], value[a], value[b], share.n[a], share.n[b], value[a] - value[b], low, high, ratio,
        p, exact,
    )  # fmt: skip
    return dict(zip(COLUMNS, columns, strict=True))
