"""From words to codes: attribute values, class names and numbers gathered into bins.

*Encoding* gives every different word of a column a small whole number, so that counting is arithmetic. Values are
kept in natural order (``3-9`` before ``10-19``), with ``unknown`` last.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from visrec.audit.cube import UNKNOWN
from visrec.errors import InputError

MAX_VALUES = 1_000
"""An attribute with more values than this makes no subgroups; it is a name or a number."""


class Vocabulary:
    """The words met so far in one column, and their codes in order of arrival.

    >>> v = Vocabulary("race")
    >>> v.encode(np.array([0, 1, -1]), ["White", "Black"]).tolist(), v.words
    ([0, 1, -1], ['White', 'Black'])
    """

    def __init__(self, name: str, limit: int = MAX_VALUES):
        self.name, self.limit = name, limit
        self.words: list[str] = []
        self._place: dict[str, int] = {}

    def encode(self, indices: np.ndarray, words: Sequence[str | None]) -> np.ndarray:
        """This vocabulary's codes for a batch with its own dictionary; -1 stays -1.

        Raises
        ------
        InputError
            When there are more different words than subgroups could be.
        """
        places = np.full(len(words) + 1, -1, dtype=np.int32)
        for i, word in enumerate(words):
            if word is None:
                continue
            if word not in self._place:
                self._add(word)
            places[i] = self._place[word]
        return places[indices]

    def _add(self, word: str) -> None:
        self._place[word] = len(self.words)
        self.words.append(word)
        if len(self.words) > self.limit:
            raise InputError(
                f"'{self.name}' has more than {self.limit:,} different values (such as '{self.words[0]}' and "
                f"'{word}'): that makes no subgroups. Choose another column, or gather numbers with "
                f"--bin {self.name}=EDGE,EDGE,..."
            )

    def order(self) -> np.ndarray:
        """Where each code goes in natural order, int32 (words,)."""
        ranked = sorted(range(len(self.words)), key=lambda i: natural_key(self.words[i]))
        place = np.empty(len(ranked), dtype=np.int32)
        place[ranked] = np.arange(len(ranked), dtype=np.int32)
        return place


def natural_key(word: str) -> tuple:
    """Sorts as people do: numbers by value, then text, ``unknown`` last.

    >>> sorted(["10-19", "3-9", "more than 70", "unknown", "Asian"], key=natural_key)
    ['3-9', '10-19', 'Asian', 'more than 70', 'unknown']
    """
    parts = [(0, float(p), "") if p.isdigit() else (1, 0.0, p.casefold()) for p in re.findall(r"\d+|\D+", word)]
    below = 0 if word.startswith("below ") else 1
    return (word == UNKNOWN, below, parts, word)


def bin_names(edges: Sequence[float]) -> list[str]:
    """Names of the bins between edges, with one below and one from the last edge on.

    >>> bin_names([0, 3, 10])
    ['below 0', '0 to <3', '3 to <10', '10 and more']
    """
    text = [f"{e:.15g}" for e in edges]  # no two edges may get one name
    inner = [f"{a} to <{b}" for a, b in itertools.pairwise(text)]
    return [f"below {text[0]}", *inner, f"{text[-1]} and more"]


def bin_codes(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Which bin each number falls in (int32); a value on an edge belongs to the bin above, NaN is -1."""
    places = np.searchsorted(np.asarray(edges, dtype=float), values, side="right").astype(np.int32)
    return np.where(np.isnan(values), np.int32(-1), places)


def parse_bins(text: str) -> tuple[str, list[float] | int]:
    """A bin rule as written: ``age=0,3,10,20`` gives edges, ``age=q4`` four groups of equal size.

    >>> parse_bins("age=0,3,10"), parse_bins("age=q4")
    (('age', [0.0, 3.0, 10.0]), ('age', 4))
    """
    name, _, rule = text.partition("=")
    try:
        if not name.strip():
            raise ValueError
        if rule[:1] in "qQ" and rule:
            return name.strip(), _many(int(rule[1:]))
        edges = [float(e) for e in rule.split(",")]
    except ValueError:
        raise InputError(
            f"The bins '{text}' cannot be read; expected ATTRIBUTE=EDGE,EDGE,... in rising order, such as "
            "age=0,3,10,20, or ATTRIBUTE=q4 for four groups of equal size."
        ) from None
    if any(b <= a for a, b in itertools.pairwise(edges)):
        raise InputError(f"The edges in '{text}' must rise.")
    return name.strip(), edges


def _many(groups: int) -> int:
    if not 2 <= groups <= 100:
        raise ValueError
    return groups


def quantile_edges(values: np.ndarray, groups: int) -> list[float]:
    """Inner edges of ``groups`` groups of (nearly) equal size; fewer where many values are equal.

    >>> quantile_edges(np.arange(8.0), 4)
    [2.0, 4.0, 6.0]
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return [0.0]
    inner = np.quantile(known, np.arange(1, groups) / groups, method="higher")
    return np.unique(inner).tolist()
