"""The AIF360 table: every metric with interval, null band and verdict beside AIF360's own value.

The value is AIF360's, run on weighted cells; where AIF360 answers an empty group with 0 or 1 the table says NaN. The
entropy family, which ignores weights, comes from its closed form. Intervals are percentiles of multinomial draws on
the cells; the null band redraws a rate at its pooled value, and deals the rows out anew for composites.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from visrec.audit import chance, draws, formulas
from visrec.audit.aif360_metrics import compared_metrics, split_metrics
from visrec.audit.cells import FN, FP, TN, TP, CellTable, binary_counts
from visrec.audit.differences import TAILS, bootstrap
from visrec.audit.gaps import Question, verdict
from visrec.audit.intervals import holm
from visrec.audit.metric_text import aif360_text

EDF = "smoothed_empirical_differential_fairness"
SAME_TEST = {
    **formulas.ALIASES,
    "false_negative_rate_difference": "true_positive_rate_difference",
    "false_positive_rate_ratio": "false_positive_rate_difference",
    "false_negative_rate_ratio": "true_positive_rate_difference",
    "false_omission_rate_ratio": "false_omission_rate_difference",
    "false_discovery_rate_ratio": "false_discovery_rate_difference",
    "error_rate_ratio": "error_rate_difference",
    "disparate_impact": "statistical_parity_difference",
    "labels_disparate_impact": "labels_statistical_parity_difference",
    "between_group_theil_index": "between_group_generalized_entropy_index",
    "between_group_coefficient_of_variation": "between_group_generalized_entropy_index",
    "between_all_groups_theil_index": "between_all_groups_generalized_entropy_index",
    "between_all_groups_coefficient_of_variation": "between_all_groups_generalized_entropy_index",
}
"""Metrics that ask the same question as another, and so take its p."""


@dataclass(frozen=True)
class Scored:
    """Scores of the outcome, counted.

    Attributes
    ----------
    sums : float64, shape (cells, 4), sum of the outcome's score over TN, FP, FN, TP
    count_bins : gives the counts, int64, and score sums, float64, both shape (cells, 2, bins), of rows labelled
        [not outcome, outcome] by score bin; called only when a band is wanted
    """

    sums: np.ndarray
    count_bins: Callable[[], tuple[np.ndarray, np.ndarray]]

    @cached_property
    def binned(self) -> tuple[np.ndarray, np.ndarray]:
        """Counts and score sums by cell, label and bin."""
        return self.count_bins()


@dataclass(frozen=True)
class Split:
    """Cells put into an unprivileged and a privileged group, with everything the metrics need."""

    codes: np.ndarray
    counts: np.ndarray
    privileged: np.ndarray
    scored: Scored | None
    names: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether both groups have rows."""
        n = self.counts.sum(axis=1)
        return bool(n[self.privileged].sum() and n[~self.privileged].sum())

    def grouped(self, counts: np.ndarray) -> np.ndarray:
        """Counts (..., cells, 4) summed to (..., 2, 4): unprivileged, privileged."""
        return np.stack(
            [counts[..., ~self.privileged, :].sum(axis=-2), counts[..., self.privileged, :].sum(axis=-2)], axis=-2
        )


def binary_sums(sums: np.ndarray, place: int) -> np.ndarray:
    """Score sums (cells, k label, k prediction) of one class as (cells, 4): TN, FP, FN, TP."""
    positive, selected, both = sums[:, place].sum(axis=1), sums[:, :, place].sum(axis=1), sums[:, place, place]
    whole = sums.sum(axis=(1, 2))
    return np.stack([whole - positive - selected + both, selected - both, positive - both, both], axis=1)


def each_against_rest(tables: Mapping[tuple[str, ...], CellTable], question: Question) -> pd.DataFrame:
    """Each cell of each table as the unprivileged group, all other rows as the privileged one, by AIF360 itself.

    Returns
    -------
    DataFrame: by, group, n, then one column per comparison (AIF360's names)
    """
    frames = []
    for by, table in sorted(tables.items(), key=lambda item: len(item[0])):
        counts = binary_counts(table, question.outcome, question.missing)
        rest = counts.sum(axis=0) - counts
        known = formulas.comparisons(counts, rest)
        values = compared_metrics(np.stack([counts, rest], axis=1))
        found = {m: np.where(np.isnan(known[formulas.ALIASES.get(m, m)]), np.nan, v) for m, v in values.items()}
        frames.append(pd.DataFrame({"by": " × ".join(by), "group": table.names(), "n": counts.sum(axis=1), **found}))
    return pd.concat(frames, ignore_index=True)


def each_pair(table: CellTable, question: Question) -> pd.DataFrame:
    """AIF360's comparisons of every two cells, by the formulas that equal AIF360's.

    Returns
    -------
    DataFrame: unprivileged, privileged (the larger cell), n_unprivileged, n_privileged, then one column per comparison
    """
    counts = binary_counts(table, question.outcome, question.missing)
    n, names = counts.sum(axis=1), np.array(table.names(), dtype=object)
    first, second = np.triu_indices(len(n), k=1)
    swap = n[first] > n[second]
    less, more = np.where(swap, second, first), np.where(swap, first, second)
    columns = {
        "unprivileged": names[less],
        "privileged": names[more],
        "n_unprivileged": n[less],
        "n_privileged": n[more],
    }
    return pd.DataFrame(columns | formulas.comparisons(counts[less], counts[more]))


def metric_table(split: Split, question: Question) -> pd.DataFrame:
    """Every metric of one split.

    Returns
    -------
    DataFrame, one row per metric
        metric, kind, value, unprivileged, privileged, low, high, null_low, null_mean, null_high, ideal, band_low,
        band_high, p, p_holm, verdict (None for a metric that compares nothing)
    """
    values = seen(split)
    bands = _bootstrap_bands(split, question)
    nulls, p = null_bands(split, question)
    rows = []
    for name, found in values.items():
        text = aif360_text(name)
        low, high = bands.get(formulas.ALIASES.get(name, name), (np.nan, np.nan))
        null = nulls.get(formulas.ALIASES.get(name, name), (np.nan, np.nan, np.nan))
        rows.append(
            {
                "metric": name,
                "kind": text.kind,
                "value": found["value"],
                "unprivileged": found.get("unprivileged", np.nan),
                "privileged": found.get("privileged", np.nan),
                "low": low if np.isfinite(found["value"]) else np.nan,
                "high": high if np.isfinite(found["value"]) else np.nan,
                **dict(zip(("null_low", "null_mean", "null_high"), null, strict=True)),
                "ideal": text.ideal,
                "band_low": text.band[0],
                "band_high": text.band[1],
                "p": p.get(SAME_TEST.get(name, name), np.nan) if np.isfinite(found["value"]) else np.nan,
                "too_few": _too_few(name, split, question),
            }
        )
    return _with_verdicts(pd.DataFrame(rows))


def seen(split: Split) -> dict[str, dict[str, float]]:
    """AIF360's values on the weighted cells, the entropy family added, the unknown masked as NaN."""
    if not split.counts.sum():
        return {}
    sums = None if split.scored is None else split.scored.sums
    values = split_metrics(split.codes, split.privileged, split.counts, sums)
    grouped = split.grouped(split.counts)
    ours = formulas.comparisons(grouped[0], grouped[1])
    for name in values:
        if np.isnan(ours.get(formulas.ALIASES.get(name, name), 0.0)):
            values[name]["value"] = np.nan
    for name in (*formulas.GROUP_RATES, *formulas.ALIASES):
        rate = formulas.ALIASES.get(name, name)
        if name in values and rate in formulas.GROUP_RATES:
            _mask(values[name], formulas.group_rate(np.vstack([split.counts.sum(axis=0)[None], grouped]), rate))
    if EDF not in values and (split.counts.sum(axis=1) > 0).sum() > 1:
        values |= {name: {"value": float(value)} for name, value in _differential(split.counts).items()}
    entropy = formulas.entropy_family(split.counts, grouped)
    for name, value in entropy.items():
        if split.known or not name.startswith("between_group_"):
            values[name] = {"value": float(value)}
    return {name: {k: v if np.isfinite(v) else np.nan for k, v in found.items()} for name, found in values.items()}


def _mask(found: dict[str, float], ours: np.ndarray) -> None:
    for key, value in zip(("value", "unprivileged", "privileged"), ours, strict=True):
        if key in found and np.isnan(value):
            found[key] = np.nan


def _bootstrap_bands(split: Split, question: Question) -> dict[str, tuple[float, float]]:
    rng = chance.generator(question.seed, *split.names, "aif360 intervals")
    drawn = bootstrap(split.counts, question.replicates, rng)
    grouped, total = split.grouped(drawn), drawn.sum(axis=1)
    values = {name: formulas.group_rate(total, name) for name in formulas.GROUP_RATES}
    values |= formulas.entropy_family(drawn, grouped)
    values |= _differential(drawn)
    if split.known:
        values |= formulas.comparisons(grouped[:, 0], grouped[:, 1])
    if split.scored is not None:
        values |= _generalized_draws(split, question)
    return {name: _percentiles(v) for name, v in values.items()}


def _differential(drawn: np.ndarray) -> dict[str, np.ndarray]:
    n = drawn.sum(axis=-1)
    predicted = formulas.smoothed_edf(drawn[..., FP] + drawn[..., TP], n)
    labelled = formulas.smoothed_edf(drawn[..., FN] + drawn[..., TP], n)
    return {
        EDF: predicted,
        f"labels_{EDF}": labelled,
        "differential_fairness_bias_amplification": predicted - labelled,
    }


def _generalized_draws(split: Split, question: Question) -> dict[str, np.ndarray]:
    """Generalized rates of redrawn rows: groups x labels x score bins, each bin at its own mean score."""
    counts, means = _binned_split(split)
    rng = chance.generator(question.seed, *split.names, "aif360 scores")
    drawn = bootstrap(counts, question.replicates, rng)
    sums, n = (drawn * means).sum(axis=-1), drawn.sum(axis=-1)
    values = formulas.generalized_rates(sums.sum(axis=1), n.sum(axis=1))
    if split.known:
        values["generalized_equalized_odds_difference"] = _equalized(sums, n)
    return values


def _binned_split(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Counts and mean scores: (2 groups, 2 labels, bins)."""
    both = (~split.privileged, split.privileged)
    counts, sums = (np.stack([held[group].sum(axis=0) for group in both]) for held in split.scored.binned)
    return counts, np.divide(sums, counts, out=np.zeros(sums.shape), where=counts > 0)


def _equalized(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    rates = formulas.generalized_rates(sums, counts)
    differences = [rates[name][..., 0] - rates[name][..., 1] for name in formulas.GENERALIZED[:2]]
    return np.maximum(*map(np.abs, differences))


def null_bands(split: Split, question: Question) -> tuple[dict[str, tuple[float, float, float]], dict[str, float]]:
    """Where each comparison falls by chance, and how often chance gives as much.

    Returns
    -------
    bands : metric -> (low, mean, high): 2.5 to 97.5 % for what has a sign, 0 to 95 % for what has none
    p : metric -> p of the redraw
    """
    bands, p = {}, {}
    if split.known:
        _rate_nulls(split, question, bands, p)
        _composite_nulls(split, question, bands, p)
    if (split.counts.sum(axis=1) > 0).sum() > 1:
        _cell_nulls(split, question, bands, p)
    return bands, p


def _rate_nulls(split: Split, question: Question, bands: dict, p: dict) -> None:
    grouped = split.grouped(split.counts)
    for rate in sorted({rate for _, rate in formulas.COMPARED.values()}):
        top, base = formulas.GROUP_RATES[rate]
        x, n = grouped[:, list(top)].sum(axis=1), grouped[:, list(base)].sum(axis=1)
        if not n.all():
            continue
        rng = chance.generator(question.seed, *split.names, "aif360", rate)
        drawn = chance.redraw_shares(x, n, question.replicates, rng)
        value = exceeds = None
        for name, (kind, compared) in formulas.COMPARED.items():
            if compared == rate:
                value = formulas.compare(kind, drawn[0] / n[0], drawn[1] / n[1])
                bands[name] = _signed(value)
                if exceeds is None:
                    exceeds = chance.largest_pair_p(x, n, drawn)
                p[name] = exceeds


def _composite_nulls(split: Split, question: Question, bands: dict, p: dict) -> None:
    grouped = split.grouped(split.counts)
    rng = chance.generator(question.seed, *split.names, "aif360 composites")
    dealt = chance.permute_binary(grouped, question.replicates, rng)
    drawn, found = formulas.comparisons(dealt[:, 0], dealt[:, 1]), formulas.comparisons(grouped[0], grouped[1])
    for name in ("average_odds_difference", "average_predictive_value_difference"):
        _note_signed(name, float(found[name]), drawn[name], bands, p)
    for name in ("average_abs_odds_difference", "equalized_odds_difference"):
        _note_size(name, float(found[name]), drawn[name], bands, p)
    between = formulas.entropy_family(dealt, dealt)
    seen_between = formulas.entropy_family(grouped, grouped)
    for name in between:
        if name.startswith("between_group_"):
            _note_size(name, float(seen_between[name]), between[name], bands, p)
    if split.scored is not None:
        counts, means = _binned_split(split)
        _note_size(
            "generalized_equalized_odds_difference",
            float(_equalized((counts * means).sum(-1), counts.sum(-1))),
            _dealt_scores(counts, means, question, rng),
            bands,
            p,
        )


def _dealt_scores(counts, means, question: Question, rng) -> np.ndarray:
    """Generalized equalized odds when scores are dealt out anew between the groups, label by label."""
    totals, sums = counts.sum(axis=0), (counts * means).sum(axis=0)
    mean = np.divide(sums, totals, out=np.zeros(sums.shape), where=totals > 0)
    first = np.stack(
        [draws.dealt(totals[y], int(counts[0, y].sum()), question.replicates, rng) for y in (0, 1)],
        axis=1,
    )
    both = np.stack([first, totals[None] - first], axis=1)
    return _equalized((both * mean).sum(axis=-1), both.sum(axis=-1))


def _cell_nulls(split: Split, question: Question, bands: dict, p: dict) -> None:
    counts = split.counts
    n = counts.sum(axis=1)
    predicted, labelled = counts[:, FP] + counts[:, TP], counts[:, FN] + counts[:, TP]
    rng = chance.generator(question.seed, *split.names, "aif360 cells")
    asked = {EDF: predicted, f"labels_{EDF}": labelled}
    drawn = {name: chance.redraw_shares(x, n, question.replicates, rng).T for name, x in asked.items()}
    null = {name: formulas.smoothed_edf(x, n) for name, x in drawn.items()}
    found = _differential(counts)
    for name in null:
        _note_size(name, float(found[name]), null[name], bands, p)
    name = "differential_fairness_bias_amplification"
    _note_signed(name, float(found[name]), null[EDF] - null[f"labels_{EDF}"], bands, p)
    dealt = chance.permute_binary(counts, question.replicates, rng)
    between, seen_between = (formulas.entropy_family(c, split.grouped(c)) for c in (dealt, counts))
    for name in between:
        if name.startswith("between_all_groups_"):
            _note_size(name, float(seen_between[name]), between[name], bands, p)


def _note_signed(name: str, value: float, drawn: np.ndarray, bands: dict, p: dict) -> None:
    bands[name] = _signed(drawn)
    centre = np.nanmean(drawn) if np.isfinite(drawn).any() else np.nan
    p[name] = chance.exceedance_p(abs(value - centre), np.abs(drawn - centre))


def _note_size(name: str, value: float, drawn: np.ndarray, bands: dict, p: dict) -> None:
    if np.isfinite(drawn).any():
        bands[name] = (0.0, float(np.nanmean(drawn)), float(np.nanquantile(drawn, 0.95)))
    p[name] = chance.exceedance_p(value, drawn)


def _signed(values: np.ndarray) -> tuple[float, float, float]:
    low, high = _percentiles(values)
    return low, float(np.nanmean(values)) if np.isfinite(values).any() else np.nan, high


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return tuple(map(float, np.quantile(known, TAILS))) if len(known) else (np.nan, np.nan)


def _too_few(name: str, split: Split, question: Question) -> bool:
    name = SAME_TEST.get(name, name)
    least = max(question.min_count, 1)
    grouped = split.grouped(split.counts)
    bases = [(TN, FP, FN, TP)]
    if name in formulas.COMPARED:
        bases = [formulas.GROUP_RATES[formulas.COMPARED[name][1]][1]]
    elif "odds" in name:
        bases = [(TN, FP), (FN, TP)]
    elif name == "average_predictive_value_difference":
        bases = [(FP, TP), (TN, FN)]
    elif name == EDF or "differential" in name or name.startswith("between_all"):
        return bool((split.counts.sum(axis=1) >= least).sum() < 2)
    return any(bool((grouped[:, list(base)].sum(axis=1) < least).any()) for base in bases)


def _with_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    own = ~frame["metric"].isin(list(SAME_TEST)) & ~frame["too_few"]
    adjusted = dict(zip(frame.loc[own, "metric"], holm(frame.loc[own, "p"]), strict=True))
    p_holm = np.array([adjusted.get(SAME_TEST.get(m, m), np.nan) for m in frame["metric"]], dtype=float)
    p_holm = np.where(np.isfinite(frame["value"]), p_holm, np.nan)
    compares = frame["kind"].to_numpy() == "comparison"
    said = [
        verdict(p, few or not np.isfinite(v)) if c else None
        for p, few, v, c in zip(p_holm, frame["too_few"], frame["value"], compares, strict=True)
    ]
    return frame.assign(p_holm=p_holm, verdict=said)
