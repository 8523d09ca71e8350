"""Paired comparison: two models on the *same* images, so that hard images count against neither.

A *pair* here is one image that both models answered. Only *discordant* pairs (one right, the other wrong) tell the
models apart; their test is McNemar's. A difference is the second model's accuracy minus the first's, in -1..1; 0 =
equally accurate. All cells that are tested make one family under Holm's rule; the difference over all images is a
question of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from visrec.audit import chance, draws
from visrec.audit.encode import natural_key
from visrec.audit.gaps import SUPPORTED, verdict
from visrec.audit.intervals import LEVEL, holm
from visrec.audit.splits import COLUMN, SEEN_IN_TRAINING, choose_split
from visrec.errors import InputError, nearest

FEW = 25
"""Below so many discordant pairs the test is exact and the interval the score interval: resampling a handful of
pairs claims more than they can give."""

BOTH, ONLY_A, ONLY_B, NEITHER = range(4)
"""Order of the last axis of paired counts: which of the two models was right."""

UNKNOWN = "unknown"
NEEDED = ("file", "label", "prediction")


@dataclass(frozen=True)
class Paired:
    """Two models compared.

    Attributes
    ----------
    overall : one row of `compared`, over all matched images
    cells : `compared` for every value of each attribute, then for their crossing; one column per attribute too
    by : the attributes
    splits : the rows used of the first and of the second table; None = it has no splits
    skipped : rows that could not be paired, ``{reason, count, examples}``
    min_count : images a cell needs to be tested
    """

    overall: dict
    cells: pd.DataFrame
    by: tuple[str, ...]
    splits: tuple[str | None, str | None]
    skipped: list[dict]
    min_count: int

    def to_json(self) -> dict:
        """The comparison as one document; unknown is None."""
        rows = self.cells.drop(columns="cell").to_dict("records")
        return {
            "rows": self.overall["n"],
            "splits": list(self.splits),
            "overall": self.overall,
            "cells": [{k: v for k, v in row.items() if k not in self.by or v is not None} for row in rows],
            "skipped": self.skipped,
            "min_count": self.min_count,
        }


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    by: Sequence[str] = (),
    *,
    split: str | None = None,
    min_count: int = 30,
    seed: int = 0,
    replicates: int = chance.REPLICATES,
) -> Paired:
    """Compare two models on the images that both answered.

    Parameters
    ----------
    a, b : predictions tables with ``file``, ``label``, ``prediction`` and perhaps ``split`` and attributes
    by : attributes that make cells, from ``a``, else from ``b``
    split : rows to compare; None = of each table those that may be audited (test, else val)
    min_count : images a cell needs to be tested
    seed, replicates : of the bootstrap

    Raises
    ------
    InputError
        A missing column, one that is no attribute, no image in common, or labels that disagree everywhere.
    """
    by = _attributes(by, a, b)
    splits = _split_of(a, split), _split_of(b, split)
    matched, skipped = match(a, b, by, splits)
    counts = _counts(matched).sum(axis=0, keepdims=True)
    rng = chance.generator(seed, "paired")
    overall = compared(counts, min_count, rng, replicates).to_dict("records")[0]
    index, tables = _cells(matched, by)
    cells = compared(tables, min_count, chance.generator(seed, "paired", *by), replicates)
    return Paired(overall, pd.concat([index, cells], axis=1), tuple(by), splits, skipped, min_count)


def match(
    a: pd.DataFrame, b: pd.DataFrame, by: Sequence[str], splits: tuple[str | None, str | None]
) -> tuple[pd.DataFrame, list[dict]]:
    """The images of both tables, matched by file name.

    Returns
    -------
    matched : DataFrame
        ``right_a``, ``right_b`` (bool) and the attributes in words, one row per image.
    skipped : list of ``{reason, count, examples}``
    """
    for name, table in (("first", a), ("second", b)):
        if missing := [c for c in NEEDED if c not in table.columns]:
            raise InputError(f"The {name} table has no column '{missing[0]}', and images are compared one by one.")
    own = [name for name in by if name in a.columns]
    skipped: list[dict] = []
    left = _usable(a, splits[0], "first", own, skipped)
    right = _usable(b, splits[1], "second", _others(by, own, a, b), skipped)
    both = left.merge(right, on="file", suffixes=("_a", "_b"), how="inner")
    _count_alone(left, right, both, (a, b), skipped)
    agree = both["label_a"] == both["label_b"]
    _skip(skipped, "labelled differently in the two tables", both.loc[~agree, "file"])
    both = both[agree]
    if both.empty:
        raise InputError(_nothing_in_common(left, right, len(agree)))
    matched = pd.DataFrame({
        "right_a": (both["prediction_a"] == both["label_a"]).to_numpy(),
        "right_b": (both["prediction_b"] == both["label_b"]).to_numpy(),
    })  # fmt: skip
    for name in by:
        matched[name] = both[name].to_numpy()
    return matched, skipped


def compared(
    counts: np.ndarray, min_count: int, rng: np.random.Generator, replicates: int = chance.REPLICATES
) -> pd.DataFrame:
    """Difference, interval, test and verdict of each row of paired counts, as one family.

    Parameters
    ----------
    counts : int, shape (cells, 4) as both right, only the first, only the second, neither

    Returns
    -------
    DataFrame, one row per cell
        n, accuracy_a, accuracy_b (0..1), difference (accuracy_b - accuracy_a, -1..1; 0 = alike), low, high (95 %),
        both, only_a, only_b, neither, test (``exact`` or ``chi2``), p, p_holm, verdict
    """
    counts = np.asarray(counts, dtype=np.int64).reshape(-1, 4)
    n = counts.sum(axis=1)
    size = np.maximum(n, 1)
    only_a, only_b = counts[:, ONLY_A], counts[:, ONLY_B]
    low, high = difference_interval(counts, rng, replicates)
    p, exact = mcnemar(only_a, only_b)
    few = n < max(min_count, 1)
    p = np.where(few, np.nan, p)
    p_holm = holm(p)
    return pd.DataFrame({
        "n": n, "accuracy_a": np.where(n, (counts[:, BOTH] + only_a) / size, np.nan),
        "accuracy_b": np.where(n, (counts[:, BOTH] + only_b) / size, np.nan),
        "difference": np.where(n, (only_b - only_a) / size, np.nan), "low": low, "high": high,
        "both": counts[:, BOTH], "only_a": only_a, "only_b": only_b, "neither": counts[:, NEITHER],
        "test": np.where(exact, "exact", "chi2"), "p": p, "p_holm": p_holm,
        "verdict": [verdict(value, small) for value, small in zip(p_holm, few, strict=True)],
    })  # fmt: skip


def mcnemar(only_a, only_b) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p that both models are equally accurate, from the discordant pairs alone.

    Returns
    -------
    p : float64; 1 without a discordant pair
    exact : bool, where the binomial test was used (fewer than `FEW` discordant pairs), else chi-squared

    Examples
    --------
    >>> p, exact = mcnemar([1, 40], [9, 70])
    >>> p.round(4).tolist(), exact.tolist()
    ([0.0215, 0.0042], [True, False])

    References
    ----------
    McNemar (1947), Psychometrika 12, 153-157. Without continuity correction, which only makes it miss more:
    Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91.
    """
    only_a, only_b = np.asarray(only_a, dtype=float), np.asarray(only_b, dtype=float)
    total = only_a + only_b
    exact = total < FEW
    binomial = np.minimum(2 * special.bdtr(np.minimum(only_a, only_b), total.astype(int), 0.5), 1.0)
    chi2 = special.chdtrc(1, (only_b - only_a) ** 2 / np.maximum(total, 1))
    return np.where(exact, binomial, chi2), exact


def difference_interval(
    counts: np.ndarray, rng: np.random.Generator, replicates: int = chance.REPLICATES
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of each difference: percentiles of redrawn pairs, or Tango's where few are discordant.

    Redrawing the images with replacement is a multinomial draw on the four paired counts, whatever their number.
    """
    low, high = tango(counts[:, ONLY_A], counts[:, ONLY_B], counts.sum(axis=1))
    many = np.flatnonzero(counts[:, ONLY_A] + counts[:, ONLY_B] >= FEW)
    for part in np.array_split(many, max(1, len(many) // 256)):
        if len(part):
            n = counts[part].sum(axis=1)
            drawn = draws.multinomial(n, counts[part] / n[:, None], replicates, rng)
            shifts = (drawn[..., ONLY_B] - drawn[..., ONLY_A]) / n
            low[part], high[part] = np.quantile(shifts, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def tango(only_a, only_b, n, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Tango's score interval for the difference of two paired shares, (only_b - only_a) / n; NaN without rows.

    Examples
    --------
    >>> low, high = tango([0], [0], [30])
    >>> f"{low[0]:.3f} {high[0]:.3f}"
    '-0.114 0.114'

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908: honest for a handful of discordant pairs, and for none.
    """
    only_a, only_b, n = (np.asarray(v, dtype=float) for v in (only_a, only_b, n))
    size = np.maximum(n, 1)
    seen, z = (only_b - only_a) / size, special.ndtri((1 + level) / 2)
    ends = []
    for outer, goal in ((-1.0, z), (1.0, -z)):
        inside, outside = seen.copy(), np.full(seen.shape, outer)
        for _ in range(60):  # bisection down to the last bit: the statistic falls as the difference grows
            middle = (inside + outside) / 2
            within = np.abs(_score(only_a, only_b, size, middle)) <= abs(goal)
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        ends.append(np.where(n > 0, inside, np.nan))
    return ends[0], ends[1]


def _score(only_a, only_b, n, difference) -> np.ndarray:
    """Distance of the data from a supposed difference, in its standard errors at the likeliest nuisance rate."""
    b = -only_b - only_a + (2 * n - only_b + only_a) * difference
    c = -only_a * difference * (1 - difference)
    nuisance = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * nuisance + difference * (1 - difference))
    return (only_b - only_a - n * difference) / np.sqrt(np.maximum(variance, 1e-12))


def sentence(found: Paired, a: str = "A", b: str = "B") -> str:
    """What may be said, for people: overall first, then the cells in which one is better beyond chance.

    Parameters
    ----------
    a, b : what the two models are called
    """
    row = found.overall
    better, other, sign = (a, b, -1) if row["verdict"] == SUPPORTED and row["difference"] < 0 else (b, a, 1)
    low, high = sorted((100 * sign * row["low"], 100 * sign * row["high"]))
    if row["verdict"] == SUPPORTED:
        points = f"{100 * abs(row['difference']):.1f} points ({low:.1f} to {high:.1f})"
        first = f"{better} is better overall by {points}: supported"
    elif row["n"] < found.min_count:
        first = f"{better} against {other}: {row['n']} images in common are too few images to tell them apart"
    else:
        first = (
            f"{better} against {other} overall: {100 * row['difference']:+.1f} points "
            f"({low:+.1f} to {high:+.1f}): cannot tell"
        )
    return f"{first}; {_cells_said(found, better, sign)}." if len(found.cells) else f"{first}."


def _cells_said(found: Paired, subject: str, sign: int) -> str:
    """The cells in which the subject (the second model where ``sign`` is 1, else the first) is better or worse."""
    known = found.cells[found.cells["verdict"] == SUPPORTED]
    if known.empty:
        tested = int(found.cells["p"].notna().sum())
        if not tested:
            return f"no group has {found.min_count} images in common, so none was tested"
        return f"in none of the {tested} groups tested is a difference supported"
    parts = []
    gain = sign * known["difference"]
    for word, rows in (("better", known[gain > 0]), ("worse", known[gain < 0])):
        if len(rows):
            rows = rows.sort_values("p", kind="stable")  # the surest first: the largest are mostly the smallest cells
            listed = [f"{c} ({100 * sign * d:+.1f})" for c, d in zip(rows["cell"], rows["difference"], strict=True)]
            more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
            parts.append(f"{subject} is {word} for {', '.join(listed[:5])}{more}: supported")
    return "; ".join(parts)


def _split_of(table: pd.DataFrame, split: str | None) -> str | None:
    if COLUMN not in table.columns:
        return None
    there = sorted({str(value) for value in table[COLUMN].dropna().unique()})
    if split is None:
        return choose_split(there)
    if split not in there:
        raise InputError(f"There are no rows of split '{split}'. {nearest(split, there)}")
    return split


def _attributes(by: Sequence[str], a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, ...]:
    """The names to group by, each once; refuses those of columns that are no attributes."""
    known = [c for c in dict.fromkeys([*a.columns, *b.columns]) if _is_attribute(c)]
    for name in by:
        if not _is_attribute(name):
            there = f"the attributes are: {', '.join(known)}" if known else "the two tables have no attributes"
            raise InputError(f"The column '{name}' is no attribute to group by; {there}.")
    return tuple(dict.fromkeys(by))


def _is_attribute(name: str) -> bool:
    return name not in (*NEEDED, COLUMN) and not str(name).startswith("score:")


def _others(by: Sequence[str], own: Sequence[str], a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """The attributes that only the second table has."""
    rest = [name for name in by if name not in own]
    if unknown := [name for name in rest if name not in b.columns]:
        known = [c for c in a.columns if _is_attribute(c)]
        raise InputError(f"Neither table has an attribute '{unknown[0]}'. {nearest(unknown[0], known)}")
    return rest


def _usable(
    table: pd.DataFrame, split: str | None, which: str, attributes: Sequence[str], skipped: list[dict]
) -> pd.DataFrame:
    """Rows of the split with a name, a label and a prediction, each file once; everything in words."""
    rows = table if split is None else table[table[COLUMN].astype(str) == split]
    rows = rows[[*NEEDED, *attributes]]
    known = rows[list(NEEDED)].notna().all(axis=1)
    _skip(skipped, f"without file, label or prediction in the {which} table", rows.loc[~known, "file"])
    rows = rows[known]
    rows = pd.DataFrame({name: rows[name].astype(str).where(rows[name].notna(), UNKNOWN) for name in rows})
    again = rows["file"].duplicated(keep=False)  # which of them is meant cannot be known
    _skip(skipped, f"in the {which} table more than once", rows.loc[again, "file"])
    return rows[~again]


def _count_alone(left, right, both, tables, skipped: list[dict]) -> None:
    """Rows of one table that the other does not have among its own; those it was trained on are named as such."""
    sides = (("first", left, "second", tables[1]), ("second", right, "first", tables[0]))
    for which, rows, other, table in sides:
        alone = rows.loc[~rows["file"].isin(both["file"]), "file"]
        seen = table[table[COLUMN].isin(SEEN_IN_TRAINING)]["file"].astype(str) if COLUMN in table.columns else []
        trained = alone.isin(seen)
        _skip(skipped, f"in the {which} table alone", alone[~trained])
        _skip(skipped, f"in the {which} table, and seen by the {other} model in training", alone[trained])


def _skip(skipped: list[dict], reason: str, files: pd.Series) -> None:
    if len(files):
        skipped.append({"reason": reason, "count": len(files), "examples": [str(f) for f in files.head(3)]})


def _nothing_in_common(left: pd.DataFrame, right: pd.DataFrame, conflicting: int) -> str:
    if conflicting:
        return (
            f"All {conflicting:,} images in common are labelled differently in the two tables: they predict "
            "different things, and cannot be compared."
        )
    first, second = (t["file"].iloc[0] if len(t) else "nothing" for t in (left, right))
    return (
        f"The two have no image in common: the first has '{first}', the second '{second}'. Compare runs judged on "
        "the same images of the same bucket; file names must agree."
    )


def _counts(matched: pd.DataFrame) -> np.ndarray:
    """int64, shape (rows, 4): a one where the row belongs."""
    right_a, right_b = matched["right_a"].to_numpy(), matched["right_b"].to_numpy()
    return np.eye(4, dtype=np.int64)[
        np.where(right_a, np.where(right_b, BOTH, ONLY_A), np.where(right_b, ONLY_B, NEITHER))
    ]


def _cells(matched: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Every value of each attribute, then every non-empty crossing: the index and the paired counts."""
    ones = pd.DataFrame(_counts(matched), index=matched.index)
    index, counts = [], [np.zeros((0, 4), np.int64)]
    for names in [[name] for name in by] + ([list(by)] if len(by) > 1 else []):
        found = ones.groupby([matched[n] for n in names], observed=True, sort=False).sum()
        keys = [key if isinstance(key, tuple) else (key,) for key in found.index]
        order = sorted(range(len(keys)), key=lambda i: tuple(natural_key(v) for v in keys[i]))
        for i in order:
            values = dict(zip(names, keys[i], strict=True))
            index.append({"cell": " · ".join(keys[i]), **{name: values.get(name) for name in by}})
        counts.append(found.to_numpy(np.int64)[order])
    return pd.DataFrame(index, columns=["cell", *by], dtype=object), np.concatenate(counts)
