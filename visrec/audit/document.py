"""The JSON document of an audit: what ``visrec audit --json`` prints and a report can be recomputed from.

Its keys are a contract (DESIGN section 5). Unknown is null; every rate is ``{value, low, high, n}``.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from visrec.audit import metric_text, rates
from visrec.audit.aif360_metrics import LEFT_OUT
from visrec.audit.pairs import MOST_PAIRS

if TYPE_CHECKING:
    from visrec.audit.engine import Audit

AVERAGES = ("micro_tpr", "micro_ppv", "micro_f1", "macro_tpr", "macro_fpr", "macro_ppv", "macro_f1")
RESERVED = {
    "n", "absent", "enough", "base_rate", "averages", "confusion", "all", *AVERAGES,
    *(f"{rate}{aspect}" for rate in rates.RATES for aspect in ("", "_low", "_high", "_n")),
    "positives", "negatives", "auc", "low", "high", "error",
    "mean_score", "observed", "calibration_gap", "ece", "brier", "threshold",
}  # fmt: skip
"""Names of our own columns, which no attribute of a crossing can have."""
GAP_KEYS = (
    "rate", "value", "low", "high", "null_low", "null_mean", "null_high", "excess", "worst", "best", "worst_value",
    "best_value", "worst_n", "best_n", "cells", "p", "p_holm", "verdict",
)  # fmt: skip


def build(audit: "Audit", aif360: bool = True) -> dict:
    """The tables of the audit as JSON-able values; of the pairs only the first.

    Parameters
    ----------
    aif360 : include AIF360's metrics (imports AIF360, seconds)
    """
    question, predictions = audit.question, audit.predictions
    result = {
        "rows": audit.rows,
        "rows_total": predictions.total,
        "other_splits": predictions.other_splits,
        "missing": int(audit.table.absent.sum()),
        "by": list(audit.by),
        "outcome": question.outcome,
        "where": dict(audit.where),
        "privileged": dict(audit.privileged),
        "min_count": question.min_count,
        "missing_counts_as": question.missing,
        "seed": question.seed,
        "replicates": question.replicates,
        "labels": list(audit.labels),
        "cells": _cells(audit, audit.by),
        "marginals": {name: _cells(audit, (name,)) for name in audit.by},
        "overall": _cells(audit, ())[0],
        "confusion": _matrix(audit, audit.confusion(())[()]),
        "gaps": _gaps(audit.gaps, audit.by, question.min_count),
        "marginal_gaps": {n: _gaps(g, (n,), question.min_count) for n, g in audit.marginal_gaps.items()},
        "family": family_text(audit),
        "pairs": _plain(audit.pairs.head(MOST_PAIRS)),
        "pairs_total": len(audit.pairs),
        "differences": _plain(audit.differences),
        "spread": _plain(audit.spread),
        "ranking": _plain(audit.ranking),
        "planner": _plain(audit.planner),
        "skipped": [{"reason": s.reason, "count": s.count, "examples": list(s.examples)} for s in predictions.skipped],
        "notes": list(predictions.notes),
    }
    if aif360:
        result["aif360"] = aif360_document(audit.aif360)
        result["aif360_groups"] = _plain(audit.aif360_groups)
        result["aif360_left_out"] = dict(LEFT_OUT)
    if predictions.has_scores and audit.question.outcome in audit.labels:
        result["auc"], result["calibration"] = _plain(audit.auc), _plain(audit.calibration)
    return result


def family_text(audit: "Audit") -> str:
    """What the verdicts of this table guard against, and what not."""
    return family_of(audit.gaps, audit.by)


def family_of(gaps: pd.DataFrame, by: tuple[str, ...]) -> str:
    """`family_text` of any gap table."""
    asked = ", ".join(metric_text.rate_name(r) for r in gaps["rate"])
    return (
        f"One family: {asked} by {' and '.join(by) or 'nothing'}. Holm's rule keeps the chance of any false "
        "verdict in it at 5 %. Looking at many crossings or filters in turn is not covered."
    )


def aif360_document(frame: pd.DataFrame) -> dict[str, dict]:
    """The AIF360 table by metric name."""
    keys = (
        "value", "unprivileged", "privileged", "low", "high", "null_low", "null_mean", "null_high", "ideal", "p",
        "p_holm", "verdict",
    )  # fmt: skip
    result = {}
    for row in frame.to_dict("records"):
        entry = {key: _number(row[key]) for key in keys}
        entry["band"] = [_number(row["band_low"]), _number(row["band_high"])]
        entry["sentence"] = metric_text.metric_sentence(row)
        result[row["metric"]] = entry
    return result


def _cells(audit: "Audit", by: tuple[str, ...]) -> list[dict]:
    frame = audit.frame(by)
    matrices = audit.confusion(by)
    records = frame.to_dict("records")
    return [_cell(audit, by, row, matrices[tuple(row[name] for name in by)]) for row in records]


def _cell(audit: "Audit", by, row: dict, matrix: np.ndarray) -> dict:
    cell = {name: row[name] for name in by}
    cell |= {"n": int(row["n"]), "absent": int(row["absent"]), "enough": bool(row["enough"])}
    cell["base_rate"] = _number(row["base_rate"])
    for rate in rates.RATES:
        ends = {end: _number(row[f"{rate}_{end}"]) for end in ("low", "high")}
        cell[rate] = {"value": _number(row[rate]), **ends, "n": int(row[f"{rate}_n"])}
    cell["averages"] = {name: _number(row[name]) for name in AVERAGES}
    cell["confusion"] = _matrix(audit, matrix)
    return cell


def _matrix(audit: "Audit", matrix: np.ndarray) -> dict:
    return {"labels": list(audit.labels), "matrix": matrix.tolist()}


def _gaps(frame: pd.DataFrame, by, min_count: int) -> list[dict]:
    rows = frame.to_dict("records")
    return [
        {key: _number(row[key]) for key in GAP_KEYS} | {"sentence": metric_text.gap_sentence(row, by, min_count)}
        for row in rows
    ]


def _plain(frame: pd.DataFrame) -> list[dict]:
    return [{k: _number(v) for k, v in row.items() if k != "too_few"} for row in frame.to_dict("records")]


def _number(value):
    """NumPy values as Python's; NaN and infinities as None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
