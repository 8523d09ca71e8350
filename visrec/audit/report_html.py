"""An audit as one HTML page: verdicts, rates of every cell, AIF360's comparisons, and what was left out.

The page is *self-contained*, without a script or a link to anything outside: it can be mailed, printed and kept. Its
figures are those of the JSON document, which holds more of them.
"""

import math
from html import escape
from typing import TYPE_CHECKING

from visrec.audit.aif360_metrics import LEFT_OUT
from visrec.audit.metric_text import AIF360_TEXT, RATE_TEXT, gap_sentence, metric_sentence

if TYPE_CHECKING:
    import pandas as pd

    from visrec.audit.engine import Audit
    from visrec.audit.policy import Ruling

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #d5dbe3; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; white-space: normal; }
.small { color: #5b6675; } .few td { color: #8a94a3; font-style: italic; }
@media print { body { max-width: none; } }
"""
SHOWN = ("accuracy", "selection_rate", "tpr", "fpr", "ppv", "balanced_accuracy", "missing")


def render(audit: "Audit", rulings: "list[Ruling] | None" = None, aif360: bool = True) -> str:
    """The page as text.

    Parameters
    ----------
    rulings : of a policy, if one was checked
    aif360 : include AIF360's table
    """
    parts = [_head(audit), _policy(rulings or []), _verdicts(audit), _overall(audit)]
    parts += [_cells(audit, (name,)) for name in audit.by if len(audit.by) > 1]
    parts.append(_cells(audit, audit.by))
    if aif360:
        parts.append(_aif360(audit))
    parts += [_skipped(audit), _limits()]
    title = escape(f"Audit of {audit.predictions.name}")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def _head(audit: "Audit") -> str:
    question = audit.question
    filters = "; ".join(f"{name} = {' or '.join(values)}" for name, values in audit.where.items()) or "none"
    return (
        f"<h1>Audit of {escape(audit.predictions.name)}</h1><p>{audit.rows:,} rows of {audit.predictions.total:,}; "
        f"by {escape(' and '.join(audit.by) or 'nothing')}; outcome {escape(question.outcome)}; filters: "
        f"{escape(filters)}; minimum count {question.min_count}; seed {question.seed}, "
        f"{question.replicates:,} redraws.</p>"
    )


def _policy(rulings: "list[Ruling]") -> str:
    if not rulings:
        return ""
    items = "".join(f"<li>{escape(r.sentence)}</li>" for r in rulings)
    passed = "passed" if all(r.passed for r in rulings) else "not passed"
    return f"<h2>Policy: {passed}</h2><ul>{items}</ul>"


def _verdicts(audit: "Audit") -> str:
    tables = {audit.by: audit.gaps} | {(n,): g for n, g in audit.marginal_gaps.items()}
    parts = [_family(by, frame, audit) for by, frame in sorted(tables.items(), key=lambda item: len(item[0]))]
    return f"<h2>What can be said</h2>{''.join(parts)}"


def _family(by: tuple[str, ...], gaps: "pd.DataFrame", audit: "Audit") -> str:
    """The verdicts of one table, and what they guard against together."""
    from visrec.audit.document import family_of

    items = [f"<li>{escape(gap_sentence(row, by, audit.question.min_count))}</li>" for row in gaps.to_dict("records")]
    return f"<ul>{''.join(items)}</ul><p class='small'>{escape(family_of(gaps, by))}</p>"


def _overall(audit: "Audit") -> str:
    labels = audit.labels
    matrix = audit.confusion(())[()]
    rows = [[label, *map(int, counts)] for label, counts in zip(labels, matrix, strict=True)]
    table = _table(["label \\ prediction", *labels], rows)
    return f"<h2>All rows</h2>{_rates_table(audit, ())}<h3>Confusion matrix</h3>{table}"


def _cells(audit: "Audit", by: tuple[str, ...]) -> str:
    return f"<h2>By {escape(' and '.join(by))}</h2>{_rates_table(audit, by)}" if by else ""


def _rates_table(audit: "Audit", by: tuple[str, ...]) -> str:
    rates = [r for r in SHOWN if audit.overall[r].notna().any() and (r != "missing" or audit.overall["absent"].any())]
    rows, small = [], []
    least = audit.question.min_count if by else 0
    for row in audit.frame(by).to_dict("records"):
        name = " · ".join(str(row[n]) for n in by) or "all"
        rows.append([name, int(row["n"]), *(_with_interval(row, rate, least) for rate in rates)])
        small.append(not row["enough"])
    return _table(["cell", "n", *(RATE_TEXT[r].title for r in rates)], rows, small)


def _with_interval(row: dict, rate: str, least: int) -> str:
    """A rate with its interval, and how many rows it rests on where not the cell's; unknown below ``least``."""
    n = int(row[f"{rate}_n"])
    if math.isnan(row[rate]) or n < least:
        return f"unknown, n = {n:,}"
    rests = f", n = {n:,}" if n != row["n"] else ""
    return f"{row[rate]:.3f} ({row[f'{rate}_low']:.3f}–{row[f'{rate}_high']:.3f}){rests}"


def _aif360(audit: "Audit") -> str:
    frame = audit.aif360
    rows = []
    for row in frame.to_dict("records") if len(frame) else []:
        if row["kind"] != "comparison":
            continue
        text = AIF360_TEXT[row["metric"]]
        band = f"{_number(row['null_low'])} to {_number(row['null_high'])}"
        interval = f"{_number(row['low'])} to {_number(row['high'])}"
        rows.append([text.title, _number(row["value"]), interval, band, f"{text.ideal:g}", metric_sentence(row)])
    group = "; ".join(f"{name} {' or '.join(values)}" for name, values in audit.privileged.items())
    head = ["metric", "value", "95 % interval", "chance alone", "ideal", "in words"]
    left_out = "; ".join(f"{name.replace('_', ' ')} ({why})" for name, why in LEFT_OUT.items())
    return (
        f"<h2>AIF360 metrics</h2><p>Reference group: {escape(group)}; compared with all others.</p>{_table(head, rows)}"
        f"<p class='small'>Not in the table: {escape(left_out)}.</p>"
    )


def _skipped(audit: "Audit") -> str:
    rows = [[s.reason, s.count, ", ".join(s.examples)] for s in audit.predictions.skipped]
    notes = "".join(f"<p class='small'>{escape(n)}</p>" for n in audit.predictions.notes)
    return f"<h2>Left out</h2>{_table(['reason', 'rows', 'examples'], rows) if rows else '<p>Nothing.</p>'}{notes}"


def _limits() -> str:
    rates = "".join(
        f"<li>{escape(t.title)}: {escape(t.definition)}. {escape(t.plain)}</li>" for t in RATE_TEXT.values()
    )
    return (
        "<h2>How to read this</h2><p>Labels of people are perceived labels. A gap is called supported only when chance "
        "does not explain it at these sizes; otherwise one cannot tell. Nothing here decides about individuals.</p>"
        f"<ul class='small'>{rates}</ul>"
    )


def _table(head: list[str], rows: list[list], small: list[bool] | None = None) -> str:
    top = "".join(f"<th>{escape(str(h))}</th>" for h in head)
    body = "".join(
        f"<tr{' class=few' if small and small[i] else ''}>"
        + "".join(f"<td{' class=text' if isinstance(c, str) and ' ' in c else ''}>{_cell(c)}</td>" for c in row)
        + "</tr>"
        for i, row in enumerate(rows)
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"
