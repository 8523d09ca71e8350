"""The planner: what each cell could show today, and how many more images it would need.

A cell's *smallest gap* is the difference to the rest that a test would find four times in five (80 % power, two-sided
5 %, shared over the cells as Holm's first step demands). A cell that could only show 20 points says nothing about 5.
"""

import numpy as np
import pandas as pd
from scipy import special

from visrec.audit.cells import CellTable
from visrec.audit.gaps import LEAST_IS_BEST, Question, askable
from visrec.audit.rates import COMPLEMENT, is_correct, ratio, shares

POWER, ALPHA = 0.8, 0.05


def plan(table: CellTable, question: Question, target: float = 0.05) -> pd.DataFrame:
    """Power of every cell against the rest.

    Parameters
    ----------
    target : gap one would want to see, 0..1

    Returns
    -------
    DataFrame, one row per rate and cell
        rate, cell, n, rest_n, rest (the rate of the rest), smallest_gap (in the direction of worse; NaN where even a
        rate of 0 or 1 would not show), target, more_images (of the rate's base that the cell needs to show
        ``target``; 0 = enough, inf = the rest is too small for any number), more_rows (the same in rows of the cell
        as it is made up today)
    """
    known = shares(table, question.outcome, question.missing)
    alike = {*COMPLEMENT, *({"selection_rate"} if is_correct(table, question.outcome) else ())}
    names, rows = table.names(), table.predicted + table.absent
    parts = [_planned(r, known[r], names, rows, target) for r in askable(known) if r not in alike]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _planned(rate: str, share, names: list[str], rows: np.ndarray, target: float) -> pd.DataFrame:
    n, rest_n = share.n, share.n.sum() - share.n
    rest = ratio(share.x.sum() - share.x, rest_n)
    worse = 1 if rate in LEAST_IS_BEST or rate == "fpr" else -1
    tests = max(int((n > 0).sum()), 1)
    needed = images_needed(rest, rest + worse * target, rest_n, tests)
    more = np.where(np.isnan(needed), np.nan, np.maximum(needed - n, 0))
    return pd.DataFrame(
        {
            "rate": rate,
            "cell": names,
            "n": n,
            "rest_n": rest_n,
            "rest": rest,
            "smallest_gap": smallest_gap(rest, n, rest_n, worse, tests),
            "target": target,
            "more_images": more,
            "more_rows": np.ceil(more / np.where(n > 0, n / np.maximum(rows, 1), np.nan)),
        }
    )


def power(p1, n1, p2, n2, tests: int = 1) -> np.ndarray:
    """Chance that the pooled-variance score test finds p1 different from p2, at 5 % shared over ``tests``.

    References
    ----------
    Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, section 4.2; normal approximation,
    counting only findings in the true direction.
    """
    p1, n1, p2, n2 = (np.asarray(a, dtype=float) for a in (p1, n1, p2, n2))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (p1 * n1 + p2 * n2) / (n1 + n2)
        under_null = np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
        under_gap = np.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
        z = (np.abs(p1 - p2) - _critical(tests) * under_null) / under_gap
    z = np.where((under_gap == 0) & (np.abs(p1 - p2) > 0), np.inf, z)
    return np.where((n1 > 0) & (n2 > 0), special.ndtr(z), np.nan)


def smallest_gap(rest, n, rest_n, direction: int, tests: int) -> np.ndarray:
    """The gap found with 80 % power, by bisection; NaN where none is large enough."""
    rest = np.asarray(rest, dtype=float)
    room = 1 - rest if direction > 0 else rest
    low, high = np.zeros(rest.shape), room.copy()
    reachable = power(np.clip(rest + direction * room, 0, 1), n, rest, rest_n, tests) >= POWER
    for _ in range(50):
        middle = (low + high) / 2
        enough = power(np.clip(rest + direction * middle, 0, 1), n, rest, rest_n, tests) >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(reachable, high, np.nan)


def images_needed(rest, other, rest_n, tests: int, most: float = 1e9) -> np.ndarray:
    """Images a cell with the rate ``other`` needs beside ``rest_n`` with the rate ``rest``, for 80 % power.

    Returns
    -------
    float64: whole numbers, inf where no number is enough, NaN where ``other`` is no rate
    """
    rest, other, rest_n = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (rest, other, rest_n)))
    possible = (other >= 0) & (other <= 1) & (rest_n > 0)
    share = np.clip(other, 0, 1)
    reachable = power(share, np.full(rest.shape, most), rest, rest_n, tests) >= POWER
    low, high = np.ones(rest.shape), np.full(rest.shape, most)
    for _ in range(60):
        middle = np.floor((low + high) / 2)
        enough = power(share, middle, rest, rest_n, tests) >= POWER
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
        low = np.minimum(low, high)
    return np.where(possible, np.where(reachable, high, np.inf), np.nan)


def _critical(tests: int) -> float:
    return float(special.ndtri(1 - ALPHA / 2 / tests))
