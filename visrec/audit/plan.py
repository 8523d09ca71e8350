"""Which column of a table plays which part: label, prediction, scores, attributes, split, file.

A *plan* is made once, before a row is read; every column named is checked, and those that were not named are decided
on here.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from visrec.audit import encode
from visrec.audit.sources import Source, to_numbers, to_text
from visrec.errors import InputError

SCORE = "score:"
FEW_VALUES = 200
"""A column with more values is not taken for an attribute unless it is named."""


@dataclass(frozen=True)
class Plan:
    """Which column plays which part; ``scores`` maps class to column, "" = class not known yet."""

    label: str
    prediction: str | None
    scores: dict[str, str]
    attributes: tuple[str, ...]
    bins: dict[str, list[float]]
    split: str | None
    split_column: str | None
    classes: tuple[str, ...] | None
    file: str | None
    score_class: str | None = None

    @property
    def has_scores(self) -> bool:
        """Whether any score column is read."""
        return bool(self.scores)

    @property
    def columns(self) -> list[str]:
        """Every column to read."""
        named = [self.label, self.prediction, self.split_column, self.file, *self.scores.values(), *self.attributes]
        return list(dict.fromkeys(c for c in named if c))


def make_plan(source: Source, label, prediction, scores, score_class, attributes, bins, split, labels, file) -> Plan:
    """Check every column named and decide on those that are not.

    Raises
    ------
    InputError
        For a column that is not there, with the nearest; for bins or scores that make no sense.
    """
    source.require(label, "the label")
    found = _score_columns(source, scores, labels)
    if prediction is None and "" in found:
        raise InputError("One score column alone does not say what was predicted; name the prediction column.")
    if prediction is not None and prediction not in source.columns and len(found) > 1 and prediction == "prediction":
        prediction = None
    if prediction is not None:
        source.require(prediction, "the prediction")
    elif not found:
        raise InputError(f"{source.name} needs a prediction column or score:<class> columns.")
    file = file if file in source.columns else None
    split_column = "split" if "split" in source.columns else None
    if split is not None:
        source.require("split", f"needed to keep the split '{split}'")
    taken = {prediction, file, *found.values(), "split", *([label] if label == "label" else [])}
    chosen = _attributes(source, attributes, bins or {}, taken)
    edges = {name: _edges(source, name, rule) for name, rule in (bins or {}).items()}
    classes = tuple(labels) if labels else (tuple(found) if found and "" not in found else None)
    if labels and found and "" not in found and set(labels) != set(found):
        raise InputError(f"The score columns are for {', '.join(found)}, but the classes are {', '.join(labels)}.")
    return Plan(label, prediction, found, chosen, edges, split, split_column, classes, file, score_class)


def _score_columns(source: Source, scores, labels) -> dict[str, str]:
    if isinstance(scores, str):
        scores = [scores]
    if scores is None:
        scores = [c for c in source.columns if c.startswith(SCORE)]
    for name in scores:
        source.require(name, "a score")
    if len(scores) == 1 and not scores[0].startswith(SCORE):
        return {"": scores[0]}
    if len(scores) == 1 and scores[0].startswith(SCORE):
        return {"": scores[0]}
    plain = [c for c in scores if not c.startswith(SCORE)]
    if plain:
        raise InputError(f"Several score columns must each be named score:<class>; '{plain[0]}' is not.")
    return {c.removeprefix(SCORE): c for c in scores}


def _attributes(source: Source, named, bins, taken) -> tuple[str, ...]:
    for name in bins:
        source.require(name, "an attribute to bin")
    if named is not None:
        return tuple(dict.fromkeys([*(source.require(n, "an attribute") for n in named), *bins]))
    candidates = [c for c in source.columns if c not in taken and not c.startswith(SCORE)]
    if not candidates:
        return tuple(bins)
    first = next(iter(source.batches(candidates)), None)
    few = [] if first is None else [c for c in candidates if c in bins or _has_few_values(first[c])]
    return tuple(few)


def _has_few_values(column: pa.ChunkedArray) -> bool:
    count = len(to_text(column).dictionary)
    return 0 < count <= FEW_VALUES and (count <= 20 or count <= len(column) // 2)


def _edges(source: Source, name: str, rule) -> list[float]:
    if not isinstance(rule, int):
        return [float(e) for e in rule]
    values = [to_numbers(b[name], name, source.name).astype(np.float32) for b in source.batches([name])]
    return _as_they_are(encode.quantile_edges(np.concatenate(values), rule), source, name)


def _as_they_are(edges: list[float], source: Source, name: str) -> list[float]:
    """Edges found among float32 values, to save memory, as the numbers of the column that they stand for.

    Rounded up, an edge of 0.3 would put the rows of exactly 0.3 into the bin below.
    """
    rounded = np.asarray(edges, np.float32)
    exact = np.full(len(edges), np.inf)
    for batch in source.batches([name]):
        values = to_numbers(batch[name], name, source.name)
        places = np.searchsorted(rounded, values.astype(np.float32))
        at = np.minimum(places, len(rounded) - 1)
        hit = rounded[at] == values.astype(np.float32)
        np.minimum.at(exact, at[hit], values[hit])
    return np.where(np.isfinite(exact), exact, edges).tolist()
