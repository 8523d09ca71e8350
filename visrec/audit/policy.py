"""A policy: what must hold before a model may pass, written down and checked by a machine.

A policy is a list of *rules*. Each names a figure of the audit (a rate of every cell, a gap, an AIF360 metric), its
limits, and how uncertainty is judged. A figure that is unknown does not pass: a gate that cannot tell stays shut,
unless the rule says otherwise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visrec.audit.gaps import SUPPORTED, TOO_FEW
from visrec.audit.metric_text import AIF360_TEXT, rate_name
from visrec.audit.rates import RATES
from visrec.errors import InputError, nearest

if TYPE_CHECKING:
    from visrec.audit.engine import Audit

FIGURES = ("rate", "gap", "aif360")
JUDGES = ("value", "interval", "supported")
KEYS = (*FIGURES, "at_least", "at_most", "judge", "unknown", "by")


@dataclass(frozen=True)
class Rule:
    """One demand.

    Attributes
    ----------
    figure : ``rate`` (of every cell that reaches the minimum count), ``gap`` or ``aif360``
    name : of the rate or metric
    at_least, at_most : limits, NaN = none
    judge : ``value`` (the figure itself must keep the limits), ``interval`` (its whole 95 % interval must), or
        ``supported`` (only a gap or metric whose verdict is *supported* can break them)
    unknown : ``fail`` or ``pass``, what an unknown figure does
    by : attribute of the crossing whose table is meant; empty = the crossing, as always for ``aif360``
    """

    figure: str
    name: str
    at_least: float = math.nan
    at_most: float = math.nan
    judge: str = "value"
    unknown: str = "fail"
    by: str = ""

    def text(self) -> str:
        """The rule in words."""
        limits = [f"at least {self.at_least:g}"] if not math.isnan(self.at_least) else []
        limits += [f"at most {self.at_most:g}"] if not math.isnan(self.at_most) else []
        what = {
            "rate": f"{rate_name(self.name)} of every cell",
            "gap": f"gap in {rate_name(self.name)}",
            "aif360": self.name.replace("_", " "),
        }[self.figure]
        return f"{what}{' by ' + self.by if self.by else ''} {' and '.join(limits)} (judged by {self.judge})"


@dataclass(frozen=True)
class Ruling:
    """What became of one rule: ``state`` is passed, failed or unknown; ``passed`` is what the gate makes of it."""

    rule: Rule
    state: str
    passed: bool
    sentence: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    cell: str = ""

    def to_json(self) -> dict[str, Any]:
        """As in the audit's document."""
        return {
            "rule": self.rule.text(),
            "state": self.state,
            "passed": self.passed,
            "sentence": self.sentence,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "cell": self.cell or None,
        }


def read_policy(document: Any) -> list[Rule]:
    """Rules from a parsed YAML or JSON document: a list, or a mapping with the key ``rules``.

    >>> read_policy([{"gap": "tpr", "at_most": 0.1}])[0].text()
    'gap in TPR at most 0.1 (judged by value)'

    Raises
    ------
    InputError
        For a key, rate, metric or limit that makes no sense.
    """
    rules = document.get("rules") if isinstance(document, Mapping) else document
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
        raise InputError("The policy holds no rules; expected a list such as `- {gap: tpr, at_most: 0.1}`.")
    return [_rule(entry, i + 1) for i, entry in enumerate(rules)]


def check(audit: "Audit", rules: Sequence[Rule]) -> list[Ruling]:
    """Hold every rule against the audit."""
    return [_CHECKS[rule.figure](audit, rule) for rule in rules]


def policy_document(rulings: Sequence[Ruling]) -> dict[str, Any]:
    """The ``policy`` part of the audit's JSON document."""
    return {"passed": all(r.passed for r in rulings), "rules": [r.to_json() for r in rulings]}


def _rule(entry: Any, number: int) -> Rule:
    if not isinstance(entry, Mapping):
        raise InputError(
            f"Rule {number} of the policy is '{entry}'; expected a mapping such as {{gap: tpr, at_most: 0.1}}."
        )
    for key in entry:
        if key not in KEYS:
            raise InputError(f"Rule {number} of the policy has the key '{key}'. {nearest(str(key), KEYS)}")
    figures = [f for f in FIGURES if f in entry]
    if len(figures) != 1:
        raise InputError(f"Rule {number} of the policy must name exactly one of {', '.join(FIGURES)}.")
    figure, name = figures[0], str(entry[figures[0]])
    known = list(AIF360_TEXT) if figure == "aif360" else list(RATES)
    if name not in known:
        raise InputError(f"Rule {number} of the policy asks for '{name}', which is no {figure}. {nearest(name, known)}")
    if figure == "aif360" and "by" in entry:
        raise InputError(
            f"Rule {number} of the policy holds the AIF360 metric '{name}' by '{entry['by']}'; AIF360's metrics "
            "compare the privileged group of the whole crossing. Leave out `by`, or audit by that attribute alone."
        )
    limits = {key: _limit(entry, key, number) for key in ("at_least", "at_most")}
    if all(math.isnan(v) for v in limits.values()):
        raise InputError(f"Rule {number} of the policy has no limit; expected at_least, at_most or both.")
    judge, unknown = str(entry.get("judge", "value")), str(entry.get("unknown", "fail"))
    if judge not in JUDGES or (judge == "supported" and figure == "rate"):
        raise InputError(f"Rule {number} of the policy is judged by '{judge}'; expected {', '.join(JUDGES)} "
                         "(a rate has no verdict, so not supported).")  # fmt: skip
    if unknown not in ("fail", "pass"):
        raise InputError(f"Rule {number} of the policy says unknown: {unknown}; expected fail or pass.")
    return Rule(figure, name, **limits, judge=judge, unknown=unknown, by=str(entry.get("by", "")))


def _limit(entry: Mapping, key: str, number: int) -> float:
    value = entry.get(key, math.nan)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"Rule {number} of the policy says {key}: {value}; expected a number.")
    return float(value)


def _check_rate(audit: "Audit", rule: Rule) -> Ruling:
    by = (rule.by,) if rule.by else audit.by
    _require_by(audit, rule)
    frame = audit.frame(by)
    names = [" · ".join(str(row[n]) for n in by) or "all" for row in frame.to_dict("records")]
    enough = (frame[f"{rule.name}_n"] >= max(audit.question.min_count, 1)).to_numpy()
    rulings = [
        _judged(rule, row[rule.name], row[f"{rule.name}_low"], row[f"{rule.name}_high"], None, name)
        for row, name, keep in zip(frame.to_dict("records"), names, enough, strict=True)
        if keep
    ]
    if not rulings:
        return _judged(rule, math.nan, math.nan, math.nan, None, "")
    return min(rulings, key=lambda r: (r.passed, _margin(rule, r.value)))


def _check_gap(audit: "Audit", rule: Rule) -> Ruling:
    _require_by(audit, rule)
    frame = audit.marginal_gaps[rule.by] if rule.by else audit.gaps
    found = frame[frame["rate"] == rule.name].to_dict("records")
    if not found:
        return _judged(rule, math.nan, math.nan, math.nan, None)
    row = found[0]
    return _judged(rule, row["value"], row["low"], row["high"], row["verdict"])


def _check_aif360(audit: "Audit", rule: Rule) -> Ruling:
    frame = audit.aif360
    found = frame[frame["metric"] == rule.name].to_dict("records") if len(frame) else []
    if not found:
        return _judged(rule, math.nan, math.nan, math.nan, None)
    row = found[0]
    return _judged(rule, row["value"], row["low"], row["high"], row["verdict"])


_CHECKS = {"rate": _check_rate, "gap": _check_gap, "aif360": _check_aif360}


def _require_by(audit: "Audit", rule: Rule) -> None:
    if rule.by and rule.by not in audit.by:
        raise InputError(f"The policy asks for '{rule.by}', but the audit is by {', '.join(audit.by) or 'nothing'}.")


def _judged(rule: Rule, value: float, low: float, high: float, verdict: str | None, cell: str = "") -> Ruling:
    where = f" ({cell})" if cell else ""
    # a metric keeps its value where too few images rest on it, and a value that rests on nothing settles nothing
    if math.isnan(value) or verdict == TOO_FEW:
        sentence = f"{rule.text()}: unknown{where}, because too few images rest on it."
        return Ruling(rule, "unknown", rule.unknown == "pass", sentence, cell=cell)
    ends = (low, high) if rule.judge == "interval" and not math.isnan(low) else (value, value)
    broken = ends[0] < rule.at_least or ends[1] > rule.at_most
    excused = broken and rule.judge == "supported" and verdict != SUPPORTED
    state = "failed" if broken and not excused else "passed"
    said = f"{value:.3f}" if math.isnan(low) else f"{value:.3f} ({low:.3f} to {high:.3f})"
    why = f"; beyond the limit, but {verdict}" if excused else ""
    sentence = f"{rule.text()}: {state} with {said}{where}{why}."
    return Ruling(rule, state, state == "passed", sentence, value, low, high, cell)


def _margin(rule: Rule, value: float) -> float:
    """How far inside the limits a value lies; negative outside."""
    low = math.inf if math.isnan(rule.at_least) else value - rule.at_least
    high = math.inf if math.isnan(rule.at_most) else rule.at_most - value
    return min(low, high)
