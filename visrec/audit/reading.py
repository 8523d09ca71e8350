"""Reading predictions batch by batch: what each row becomes, and what is left out.

A *chunk* is one batch of rows as codes; *skips* count the rows that could not be used,
with examples. The classes are shared by label and prediction, so that a word means the same in both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from visrec.audit import encode
from visrec.audit.cube import UNKNOWN, Attribute
from visrec.audit.filenames import file_keys
from visrec.audit.plan import SCORE, Plan
from visrec.audit.sources import Source, codes, to_numbers, to_text
from visrec.errors import InputError


@dataclass(frozen=True)
class Chunk:
    """Rows as codes: shapes as in `visrec.audit.predictions.Rows`; ``keys`` uint64 digests of file names."""

    codes: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray | None
    keys: np.ndarray | None
    files: pa.ChunkedArray | None

    def __len__(self) -> int:
        return len(self.label)

    def select(self, keep: np.ndarray) -> "Chunk":
        """The rows where ``keep`` (bool) is true."""
        return Chunk(
            self.codes[:, keep],
            self.label[keep],
            self.prediction[keep],
            None if self.scores is None else self.scores[keep],
            None if self.keys is None else self.keys[keep],
            None if self.files is None else self.files.filter(pa.array(keep)),
        )

    def answers(self) -> np.ndarray:
        """One code per (label, prediction): int64 (rows,)."""
        return self.label.astype(np.int64) * 1_000_003 + self.prediction

    def names(self, places: np.ndarray) -> list[str]:
        """File names of some rows."""
        return [] if self.files is None else [str(f) for f in self.files.take(pa.array(places, pa.int64())).to_pylist()]

    @classmethod
    def joined(cls, chunks: Sequence["Chunk"]) -> "Chunk":
        """All chunks as one."""
        first = chunks[0]

        def whole(name: str, axis: int = 0):
            return None if getattr(first, name) is None else np.concatenate([getattr(c, name) for c in chunks], axis)

        files = None
        if first.files is not None:
            files = pa.chunked_array([part for c in chunks for part in c.files.chunks], pa.string())
        return cls(whole("codes", 1), whole("label"), whole("prediction"), whole("scores"), whole("keys"), files)


@dataclass(frozen=True)
class Skip:
    """One reason for leaving rows out."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass
class Skips:
    """Counters of rows read and rows left out."""

    total: int = 0
    other_splits: int = 0
    splits: set[str] = field(default_factory=set)
    _found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, reason: str, count: int, examples: Sequence[str] = ()) -> None:
        """Count rows left out; the first five examples are remembered."""
        if not count:
            return
        before, known = self._found.get(reason, (0, []))
        merged = list(dict.fromkeys([*known, *map(str, examples)]))[:5]
        self._found[reason] = (before + int(count), merged)

    def listed(self) -> list[Skip]:
        """Every reason with its count, the commonest first."""
        ordered = sorted(self._found.items(), key=lambda item: -item[1][0])
        return [Skip(reason, count, tuple(examples)) for reason, (count, examples) in ordered]


class Reader:
    """Turns the batches of a source into chunks of codes."""

    def __init__(self, source: Source, plan: Plan, like: "Reader | None" = None):
        self.source, self.plan = source, plan
        self.skips = Skips()
        self.notes: list[str] = []
        if like is not None:
            self._classes, self._words = like._classes, like._words
            self._single = like._single
            return
        self._classes = encode.Vocabulary(plan.label)
        if plan.classes:
            self._classes.encode(np.arange(len(plan.classes)), plan.classes)
        self._words = [encode.Vocabulary(name) for name in plan.attributes]
        self._single = _SingleScore(plan.score_class, plan.scores.get("", ""))

    def chunks(self, with_files: bool = True) -> Iterator[Chunk]:
        """Each batch as codes, without the rows that cannot be used."""
        for table in self.source.batches(self.plan.columns, plain=[self.plan.file] if self.plan.file else []):
            self.skips.total += table.num_rows
            yield self._chunk(self._of_split(table), with_files)

    def labels(self) -> tuple[str, ...]:
        """The class names: as given, else in natural order."""
        return self.plan.classes or tuple(sorted(self._classes.words, key=encode.natural_key))

    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes with their values in natural order; bins in the order of their edges."""
        return tuple(Attribute(v.name, tuple(self._value_order(v))) for v in self._words)

    def in_order(self, chunk: Chunk) -> Chunk:
        """The same rows with codes renumbered to the order of `labels` and `attributes`."""
        order = self.class_order()
        codes_ = np.empty_like(chunk.codes)
        for i in range(len(self._words)):
            codes_[i] = self.value_order(i)[chunk.codes[i]]
        scores = self.full_scores(chunk.scores)
        return replace(chunk, codes=codes_, label=order[chunk.label], prediction=order[chunk.prediction], scores=scores)

    def class_order(self) -> np.ndarray:
        """New place of each class code; the last entry maps -1 to -1."""
        place = {word: i for i, word in enumerate(self.labels())}
        return np.array([*(place[w] for w in self._classes.words), -1], dtype=np.int32)

    def value_order(self, i: int) -> np.ndarray:
        """New place of each value code of attribute ``i``."""
        place = {word: j for j, word in enumerate(self._value_order(self._words[i]))}
        return np.array([place[w] for w in self._words[i].words], dtype=np.int32)

    def full_scores(self, scores: np.ndarray | None, whole: np.ndarray | float = 1.0) -> np.ndarray | None:
        """One score per class in the order of `labels`; a single column becomes s and ``whole`` - s."""
        if scores is None:
            return None
        labels = self.labels()
        if "" not in self.plan.scores:
            given = list(self.plan.scores)
            return scores[:, [given.index(name) for name in labels]]
        column = self.single_score_place()
        both = np.empty((len(scores), 2))
        both[:, column], both[:, 1 - column] = scores[:, 0], whole - scores[:, 0]
        return both

    def score_owners(self) -> list[str]:
        """The class each score column speaks for."""
        if "" in self.plan.scores:
            return [self.labels()[self.single_score_place()]]
        return list(self.plan.scores)

    def single_score_place(self) -> int:
        """Place in `labels` of the class that the only score column speaks for."""
        labels = self.labels()
        if len(labels) != 2:
            raise InputError(
                f"One score column can only speak for two classes, but {self.source.name} has {len(labels)}: "
                f"{', '.join(labels[:8])}. Give one column per class, named score:<class>."
            )
        chosen = self._single.chosen(self._classes.words, labels)
        if chosen not in labels:
            raise InputError(f"The score's class '{chosen}' is not one of the classes {labels[0]} and {labels[1]}.")
        note = f"The score column is read as the score of '{chosen}'."
        if note not in self.notes:
            self.notes.append(note)
        return labels.index(chosen)

    def _value_order(self, vocabulary: encode.Vocabulary) -> list[str]:
        if vocabulary.name in self.plan.bins:
            names = [*encode.bin_names(self.plan.bins[vocabulary.name]), UNKNOWN]
            return [n for n in names if n in vocabulary.words]
        return sorted(vocabulary.words, key=encode.natural_key)

    def _of_split(self, table: pa.Table) -> pa.Table:
        if self.plan.split is None:
            return table
        place, words = codes(self._text(table, self.plan.split_column))
        self.skips.splits.update(w for w in words if w)
        wanted = [i for i, w in enumerate(words) if w == self.plan.split]
        keep = np.isin(place, wanted)
        self.skips.other_splits += int((~keep).sum())
        return table.filter(pa.array(keep))

    def _chunk(self, table: pa.Table, with_files: bool) -> Chunk:
        label = self._class_codes(table, self.plan.label, "label")
        scores = self._scores(table)
        if self.plan.prediction is None:
            prediction = self._best(scores)
        else:
            prediction = self._class_codes(table, self.plan.prediction, "prediction", among=label >= 0)
        files = table[self.plan.file] if self.plan.file else None
        keep = self._usable(label, prediction, scores, files)
        attribute_codes = self._attribute_codes(table)
        keys = None if files is None else file_keys(files)
        if files is not None and with_files:
            names = [c.cast(pa.string()) for c in files.chunks] or [pa.array([], pa.string())]
            names = pa.chunked_array(names, pa.string())
        else:
            names = None
        chunk = Chunk(attribute_codes, label, prediction, scores, keys, names)
        if not keep.all():
            chunk = chunk.select(keep)
        self._single.learn(chunk)
        return chunk

    def _text(self, table: pa.Table, column: str, known: Sequence[str] = ()) -> pa.DictionaryArray:
        """A column in words; one of the ``known`` words is never taken for a missing value."""
        return to_text(table[column], [word for word in self.source.missing(column) if word not in known])

    def _class_codes(self, table: pa.Table, column: str, role: str, among: np.ndarray | None = None) -> np.ndarray:
        """-1 = missing, -2 = a class that is none, counted as left out ``among`` the rows not left out before."""
        place, words = codes(self._text(table, column, self.plan.classes or ()))
        if self.plan.classes:
            known = set(self.plan.classes)
            strange = [w for w in words if w is not None and w not in known]
            if strange:
                bad = np.isin(place, [i for i, w in enumerate(words) if w in set(strange)])
                counted = bad if among is None else bad & among
                self.skips.add(f"unknown {role}", int(counted.sum()), [words[i] for i in np.unique(place[counted])])
                words = [w if w in known else None for w in words]
                coded = self._classes.encode(place, words)
                return np.where(bad, np.int32(-2), coded)
        return self._classes.encode(place, words)

    def _usable(self, label, prediction, scores, files) -> np.ndarray:
        keep = (label >= 0) & (prediction >= -1)
        self.skips.add("no label", int((label == -1).sum()), _some(files, label == -1))
        if scores is not None:
            unscored = keep & (prediction >= 0) & np.isnan(scores).any(axis=1)
            self.skips.add("prediction without a score", int(unscored.sum()), _some(files, unscored))
            keep &= ~unscored
        return keep

    def _scores(self, table: pa.Table) -> np.ndarray | None:
        if not self.plan.scores:
            return None
        columns = [self._score(table, name) for name in self.plan.scores.values()]
        return np.stack(columns, axis=1)

    def _score(self, table: pa.Table, name: str) -> np.ndarray:
        values = to_numbers(table[name], name, self.source.name)
        with np.errstate(invalid="ignore"):
            outside = (values < 0) | (values > 1)
        if outside.any():
            raise InputError(
                f"The scores in '{name}' of {self.source.name} should lie between 0 and 1, but one is "
                f"{values[outside][0]:g} ({int(outside.sum()):,} such rows). Turn logits or percentages into "
                "probabilities first."
            )
        return values

    def _best(self, scores: np.ndarray) -> np.ndarray:
        classes = list(self.plan.scores)
        unknown = np.isnan(scores).any(axis=1)
        best = np.argmax(np.where(np.isnan(scores), -1, scores), axis=1).astype(np.int32)
        coded = self._classes.encode(np.arange(len(classes)), classes)[best]
        return np.where(unknown, np.int32(-1), coded)

    def _attribute_codes(self, table: pa.Table) -> np.ndarray:
        result = np.empty((len(self._words), table.num_rows), dtype=np.int32)
        for i, (name, vocabulary) in enumerate(zip(self.plan.attributes, self._words, strict=True)):
            if name in self.plan.bins:
                edges = self.plan.bins[name]
                place = encode.bin_codes(to_numbers(table[name], name, self.source.name), edges)
                words = [*encode.bin_names(edges), UNKNOWN]
            else:
                place, words = codes(self._text(table, name))
                words = [*(UNKNOWN if w is None else w for w in words), UNKNOWN]
            place = np.where(place < 0, np.int32(len(words) - 1), place)
            used = np.zeros(len(words), dtype=bool)
            used[place] = True
            result[i] = vocabulary.encode(place, [w if u else None for w, u in zip(words, used, strict=True)])
        return result


class _SingleScore:
    """Finds out which of two classes a lone score column speaks for.

    The class given, else the one that the column is named after (``score:<class>``), else the one predicted at high
    scores.
    """

    def __init__(self, given: str | None, column: str):
        self.given = given
        self.named = column.removeprefix(SCORE) if column.startswith(SCORE) else None
        self.sums: dict[int, tuple[float, int]] = {}

    def learn(self, chunk: Chunk) -> None:
        """Add up the scores of each predicted class."""
        if self.given or chunk.scores is None or chunk.scores.shape[1] != 1:
            return
        for code in np.unique(chunk.prediction[chunk.prediction >= 0]).tolist():
            chosen = chunk.scores[chunk.prediction == code, 0]
            total, n = self.sums.get(code, (0.0, 0))
            self.sums[code] = (total + float(chosen.sum()), n + len(chosen))

    def chosen(self, words: Sequence[str], classes: Sequence[str]) -> str:
        """The class; ``words`` are what the predictions' codes stand for. `InputError` where nothing tells."""
        if self.given:
            return self.given
        if self.named in classes:
            return self.named
        means = {words[code]: total / n for code, (total, n) in self.sums.items()}
        if not means:
            raise InputError(
                "No row has a prediction, so nothing tells which class the scores are for. Name it with --score-class."
            )
        if len(means) == 1 and len(words) == 2:
            only, mean = next(iter(means.items()))
            return only if mean >= 0.5 else next(w for w in words if w != only)
        return max(means, key=means.get)


def _some(files, chosen: np.ndarray) -> list[str]:
    places = np.flatnonzero(chosen)[:5]
    if files is None or not len(places):
        return []
    return [str(f) for f in files.take(pa.array(places)).to_pylist()]
