"""The audit: one object that holds, or can compute, every figure about one set of predictions.

`audit` chooses the rows, the crossing and the outcome; the `Audit` it returns computes each table when it is first
asked for and keeps it. The page, the command line and the report read the same object, so that a figure is the same
in all three, to the last digit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from visrec.audit import (
    aif360_table,
    chance,
    differences,
    document,
    gaps,
    intervals,
    pairs,
    planner,
    rates,
    scores,
    subset_scan,
    thresholds,
    variance,
)
from visrec.audit.cells import CORRECT, CellTable, binary_counts, outcome_index
from visrec.audit.cube import Cube, parse_where, value_codes
from visrec.audit.gaps import Draws, Question
from visrec.audit.metric_text import gap_sentence
from visrec.audit.predictions import Predictions
from visrec.errors import InputError

MOST_SEED = 2**32 - 1
"""The largest seed of a legacy NumPy generator, which the subset scan shares with AIF360."""

KEEP_CELLS = 300
"""Redraws of a crossing of more cells are not kept between two minimum counts: they take 32 kB a cell."""


@dataclass(frozen=True)
class Audit:
    """Every figure about one set of predictions, for one crossing and one outcome.

    Attributes
    ----------
    predictions : what is audited
    by : the crossed attributes
    question : outcome, minimum count, what a missing prediction counts as, seed and number of redraws
    where : the filters, attribute to values
    privileged : attribute values of the reference group
    like : the audit that this one was made from by `asking`; what depends on no minimum count is taken from it
    """

    predictions: Predictions
    by: tuple[str, ...]
    question: Question
    where: Mapping[str, Sequence[str]]
    privileged: Mapping[str, Sequence[str]]
    like: "Audit | None" = field(default=None, repr=False, compare=False)

    def asking(self, min_count: int) -> "Audit":
        """The same audit with another minimum count; counts, rates and intervals are not computed again."""
        question = replace(self.question, min_count=min_count)
        return replace(self, question=question, like=self.like or self)

    @cached_property
    def cube(self) -> Cube:
        """The counts after the filters."""
        if self.like:
            return self.like.cube
        return self.predictions.cube.where(self.where)

    @cached_property
    def table(self) -> CellTable:
        """Counts of the crossing's cells."""
        if self.like:
            return self.like.table
        return self.cube.table(self.by)

    @cached_property
    def tables(self) -> dict[tuple[str, ...], CellTable]:
        """The crossing, and each of its attributes alone, by their names."""
        alone = {(name,): self.cube.table((name,)) for name in self.by if len(self.by) > 1}
        return {self.by: self.table, **alone}

    @property
    def rows(self) -> int:
        """Rows audited, with or without a prediction."""
        return self.cube.rows

    def frame(self, by: Sequence[str]) -> pd.DataFrame:
        """Rates of the cells of any crossing of attributes, as in `cells`; () is everything as one cell."""
        by = tuple(by)
        if by == self.by:
            return self.cells
        if not by:
            return self.overall
        return (
            self.marginals[by[0]]
            if by[1:] == () and by[0] in self.by
            else cell_frame(self.cube.table(by), self.question)
        )

    @cached_property
    def overall(self) -> pd.DataFrame:
        """All rows as one cell; columns as in `cells`."""
        if self.like:
            return self._enough(self.like.overall)
        return cell_frame(self.table.total(), self.question)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row per non-empty cell of the crossing.

        Columns: the attributes, ``n`` (rows with a prediction), ``absent`` (rows without), ``enough`` (n reaches the
        minimum count), ``base_rate``, and for each rate ``<rate>``, ``<rate>_low``, ``<rate>_high``, ``<rate>_n``.
        """
        if self.like:
            return self._enough(self.like.cells)
        return cell_frame(self.table, self.question)

    @cached_property
    def marginals(self) -> dict[str, pd.DataFrame]:
        """For each attribute of the crossing alone, a frame as `cells`."""
        if self.like:
            return {name: self._enough(frame) for name, frame in self.like.marginals.items()}
        return {name: cell_frame(self.cube.table((name,)), self.question) for name in self.by}

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """The crossing's gap in each rate; see `visrec.audit.gaps.gap_table`."""
        return self._gaps(self.by)

    @cached_property
    def marginal_gaps(self) -> dict[str, pd.DataFrame]:
        """The gaps over each attribute alone, each a family of its own."""
        if len(self.by) == 1:
            return {self.by[0]: self.gaps}
        return {name: self._gaps((name,)) for name in self.by}

    def _gaps(self, by: tuple[str, ...]) -> pd.DataFrame:
        return gaps.gap_table(self.tables[by], self.question, lambda: self._dealt(by))

    def _dealt(self, by: tuple[str, ...]) -> "Draws":
        """`visrec.audit.gaps.composite_draws` of a table, drawn once for all minimum counts."""
        kept = (self.like or self)._draws
        if by in kept:
            return kept[by]
        drawn = gaps.composite_draws(self.tables[by], self.question)
        if self.tables[by].size <= KEEP_CELLS:
            kept[by] = drawn
        return drawn

    @cached_property
    def _draws(self) -> "dict[tuple[str, ...], Draws]":
        return {}

    def _enough(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(enough=frame["n"] >= self.question.min_count)

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Every pair of cells that reach the minimum count, rate by rate; see `visrec.audit.pairs.pair_table`."""
        return pairs.pair_table(self.table, self.question)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Each cell against the rest; see `visrec.audit.differences.against_rest`."""
        return differences.against_rest(self.table, self.question)

    @cached_property
    def aif360(self) -> pd.DataFrame:
        """AIF360's metrics for the privileged group against the rest; see `visrec.audit.aif360_table`.

        The first call imports AIF360 (seconds).
        """
        split = self.split(self.privileged_cells)
        return aif360_table.metric_table(split, self.question)

    @cached_property
    def aif360_groups(self) -> pd.DataFrame:
        """AIF360's comparisons of each group with the rest: one row per group, one column per metric.

        The groups are the values of each attribute of the crossing alone, then the crossing's cells.
        """
        return aif360_table.each_against_rest(self.tables, self.question)

    @cached_property
    def aif360_pairs(self) -> pd.DataFrame:
        """AIF360's comparisons of every two cells of the crossing; see `visrec.audit.aif360_table.each_pair`."""
        return aif360_table.each_pair(self.table, self.question)

    @cached_property
    def privileged_cells(self) -> np.ndarray:
        """Which cells of the crossing form the reference group: bool (cells,)."""
        keep = np.ones(self.table.size, dtype=bool)
        for name, wanted in self.privileged.items():
            column = self.by.index(name)
            keep &= np.array([key[column] in wanted for key in self.table.keys])
        return keep

    def split(self, privileged: np.ndarray) -> "aif360_table.Split":
        """The crossing's cells in two groups; ``privileged`` is bool (cells,)."""
        _, codes = self.cube.keys(self.by)
        codes = codes if self.by else np.zeros((self.table.size, 1), dtype=np.int32)
        counts = binary_counts(self.table, self.question.outcome, self.question.missing)
        return aif360_table.Split(codes, counts, privileged, self._scored(), self.by)

    def _scored(self) -> "aif360_table.Scored | None":
        place = outcome_index(self.labels, self.question.outcome)
        if place is None or not self.predictions.has_scores or self.question.missing == "wrong":
            return None
        sums = self.cube.score_sums(self.by)[..., place]
        bins = lambda: scores.histogram(self._spread_to_cells(self.scores()))
        return aif360_table.Scored(aif360_table.binary_sums(sums, place), bins)

    def _spread_to_cells(self, found: "scores.CellScores") -> "scores.CellScores":
        """The same scores numbered as the table's cells (a cell without any prediction has no scores)."""
        place = {key: i for i, key in enumerate(self.table.keys)}
        return replace(found, keys=self.table.keys, cell=np.array([place[k] for k in found.keys], np.int64)[found.cell])

    def scores(self, by: Sequence[str] | None = None) -> "scores.CellScores":
        """The outcome's scores by cell, for `visrec.audit.scores`: ROC, AUC, calibration.

        Raises
        ------
        InputError
            Without scores, or for the outcome ``correct``.
        """
        by = self.by if by is None else tuple(by)
        return scores.cell_scores(self.predictions, by, self.question.outcome, self.where)

    @cached_property
    def auc(self) -> pd.DataFrame:
        """AUC of each cell with its interval."""
        return scores.auc_table(self.scores())

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """Calibration of each cell; see `visrec.audit.scores.calibration_table`."""
        return scores.calibration_table(self.scores())

    @cached_property
    def recalibration(self) -> pd.DataFrame:
        """Calibration before and after, cross-fitted; see `visrec.audit.thresholds.calibration_comparison`."""
        return thresholds.calibration_comparison(self.scores(), self.question.seed)

    @cached_property
    def planner(self) -> pd.DataFrame:
        """What each cell could show today, and what it would take; see `visrec.audit.planner.plan`."""
        return planner.plan(self.table, self.question)

    @cached_property
    def spread(self) -> pd.DataFrame:
        """Between-group variance of each rate, corrected for chance; see `visrec.audit.variance`."""
        return variance.spread_table(self.table, self.question)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """Cells ranked by shrunken rates; see `visrec.audit.variance.ranking`."""
        return variance.ranking(self.table, self.question)

    @cached_property
    def subset(self) -> "subset_scan.Scan":
        """The worst subgroup found without being told where to look; see `visrec.audit.subset_scan`."""
        return subset_scan.scan(self.cube, self.question)

    def sentences(self) -> list[str]:
        """What may be said of each gap of the crossing, in words."""
        return [gap_sentence(row, self.by, self.question.min_count) for row in self.gaps.to_dict("records")]

    def to_json(self, aif360: bool = True) -> dict:
        """The document of `visrec audit --json`; see `visrec.audit.document`."""
        return document.build(self, aif360)

    def confusion(self, by: Sequence[str] | None = None) -> dict[tuple[str, ...], np.ndarray]:
        """The confusion matrix of each cell: int64 (k, k), rows = label, columns = prediction.

        Parameters
        ----------
        by : any attributes; None for the audit's own crossing, () for one matrix of everything
        """
        table = self.table if by is None or tuple(by) == self.by else self.cube.table(tuple(by))
        return dict(zip(table.keys, table.counts, strict=True))

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the matrices."""
        return self.predictions.labels


def audit(
    predictions: Predictions,
    *,
    by: Sequence[str] | str,
    outcome: str = CORRECT,
    privileged: Mapping[str, Sequence[str]] | Sequence[str] | str | None = None,
    where: Mapping[str, Sequence[str]] | Sequence[str] | str | None = None,
    min_count: int = 30,
    missing: str = "leave",
    seed: int = 0,
    replicates: int = chance.REPLICATES,
) -> Audit:
    """Audit predictions over a crossing of attributes.

    Parameters
    ----------
    predictions : from `visrec.audit.predictions.load_predictions`
    by : attributes to cross
    outcome : ``correct`` (whom does the model fail?) or a class, one against the rest (who gets this label?)
    privileged : the reference group, as ``{"race": ["White"]}`` or ``"race=White"``; None takes the largest cell
    where : filters, as a mapping or as written on the command line; the same attribute = or, different = and
    min_count : rows a rate must rest on to take part in gaps and verdicts
    missing : ``leave`` rows without a prediction out of the rates, or count them as ``wrong``
    seed, replicates : of the redraws and bootstraps

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        For an unknown attribute, value or outcome, or filters that leave no rows.
    """
    by = tuple(dict.fromkeys(_names(by)))
    if missing not in ("leave", "wrong"):
        raise InputError(f"missing is '{missing}'; expected 'leave' or 'wrong'.")
    if min_count < 0 or replicates < 1:
        raise InputError(f"min_count is {min_count} and replicates {replicates}; expected at least 0 and 1.")
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"The seed is {seed}; expected a whole number from 0 to {MOST_SEED}. Choose another.")
    known = [a.name for a in predictions.attributes]
    for name in by:
        predictions.cube.attribute(name)
        if name in document.RESERVED:
            raise InputError(f"The attribute '{name}' has the name of a figure of the audit; rename the column.")
    outcome_index(predictions.labels, outcome)
    filters = _filters(where, known)
    question = Question(outcome, missing, min_count, seed, replicates)
    result = Audit(predictions, by, question, filters, {})
    if not result.cube.count.size:
        raise InputError(f"No row of {predictions.name} passes the filters {_filter_text(filters)}.")
    return replace(result, privileged=_privileged(result, _filters(privileged, known)))


def cell_frame(table: CellTable, question: Question) -> pd.DataFrame:
    """Every rate of every cell with its interval and count; columns as in `Audit.cells`."""
    frame = table.index()
    frame["n"], frame["absent"] = table.predicted, table.absent
    frame["enough"] = frame["n"] >= question.min_count
    known = rates.shares(table, question.outcome, question.missing)
    columns: dict[str, np.ndarray] = {"base_rate": differences.base_rate(table, question)}
    for rate in rates.PROPORTIONS:
        share = known[rate]
        columns |= _aspects(rate, share.value, *intervals.wilson(share.x, share.n), share.n)
    for rate, (value, low, high, n) in differences.composite_intervals(table, question).items():
        columns |= _aspects(rate, value, low, high, n)
    columns |= rates.averages(table)
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def _aspects(rate: str, value, low, high, n) -> dict[str, np.ndarray]:
    return {rate: value, f"{rate}_low": low, f"{rate}_high": high, f"{rate}_n": n}


def _names(by: Sequence[str] | str) -> list[str]:
    names = by.split(",") if isinstance(by, str) else list(by)
    return [name.strip() for name in names if name.strip()]


def _filters(given, known: Sequence[str]) -> dict[str, list[str]]:
    if not given:
        return {}
    if isinstance(given, Mapping):
        return {k: [v] if isinstance(v, str) else list(v) for k, v in given.items()}
    return parse_where([given] if isinstance(given, str) else given, known)


def _filter_text(filters: Mapping[str, Sequence[str]]) -> str:
    return " and ".join(f"{name} = {' or '.join(values)}" for name, values in filters.items())


def _privileged(result: Audit, given: dict[str, list[str]]) -> dict[str, list[str]]:
    """The reference group: as given, else the most frequent value of the first attribute."""
    for name, wanted in given.items():
        if name not in result.by:
            raise InputError(
                f"The privileged group names '{name}', but the audit is by {', '.join(result.by) or 'nothing'}; "
                f"add it to --by, or choose a group among those."
            )
        value_codes(result.predictions.attributes[result.cube.attribute(name)], wanted)
    if given or not result.by:
        return given
    table = result.cube.table(result.by[:1])
    return {result.by[0]: [table.keys[int(np.argmax(table.predicted))][0]]}
