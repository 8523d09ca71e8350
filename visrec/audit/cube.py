"""The cube: predictions counted by every attribute, by label and by prediction.

A *cube* holds one line per combination that occurs, with the number of rows and, where scores exist, the sum of
each class's score over them. All audit figures but ROC and calibration are sums of its lines, so that a filter or
another crossing costs milliseconds, however many rows were counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visrec.audit.cells import CellTable
from visrec.errors import InputError, NotFoundError, nearest

UNKNOWN = "unknown"
"""The cell of rows whose attribute value is missing."""

MAX_CELLS = 20_000
"""More cells than this in one crossing are a mistake, not an audit."""

Where = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Attribute:
    """A column that makes subgroups: its name and its values in natural order."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Cube:
    """Counted predictions.

    Attributes
    ----------
    attributes : the d attributes
    labels : the k class names
    codes : int32, shape (d, lines)
        Value of each attribute, as its place in `Attribute.values`.
    label : int32, shape (lines,)
    prediction : int32, shape (lines,)
        Place in ``labels``; -1 where the model gave no prediction.
    count : int64, shape (lines,)
    score_sum : float64, shape (lines, k), or None
        Sum of each class's score (0..1) over the rows of the line.
    """

    attributes: tuple[Attribute, ...]
    labels: tuple[str, ...]
    codes: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    count: np.ndarray
    score_sum: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Number of rows counted."""
        return int(self.count.sum())

    def attribute(self, name: str) -> int:
        """Place of the attribute of that name.

        Raises
        ------
        NotFoundError
            With the nearest name.
        """
        names = [a.name for a in self.attributes]
        if name not in names:
            raise NotFoundError(f"There is no attribute '{name}' in these predictions. {nearest(name, names)}")
        return names.index(name)

    def where(self, filters: Where | None) -> "Cube":
        """Only the lines that pass: one of the given values, for every attribute named.

        Raises
        ------
        NotFoundError
            For an attribute or a value that does not occur.
        """
        if not filters:
            return self
        keep = np.ones(self.count.shape, dtype=bool)
        for name, wanted in filters.items():
            place = self.attribute(name)
            keep &= np.isin(self.codes[place], value_codes(self.attributes[place], wanted))
        sums = None if self.score_sum is None else self.score_sum[keep]
        return Cube(
            self.attributes,
            self.labels,
            self.codes[:, keep],
            self.label[keep],
            self.prediction[keep],
            self.count[keep],
            sums,
        )

    def keys(self, by: Sequence[str], most: int | None = MAX_CELLS) -> tuple[np.ndarray, np.ndarray]:
        """Which cell of the crossing each line belongs to.

        Parameters
        ----------
        by : attributes to cross
        most : so many cells are allowed; None for any number

        Returns
        -------
        cell : int64 (lines,), place among the non-empty cells in natural order
        values : int32 (cells, len(by)), the attribute codes of those cells

        Raises
        ------
        InputError
            For more than ``most`` cells.
        """
        from visrec.audit.counting import unique_columns  # which imports the cube

        places = [self.attribute(name) for name in by]
        present, cell = unique_columns(self.codes[places])
        if most is not None and present.shape[1] > most:
            raise InputError(
                f"Crossing {', '.join(by)} gives {present.shape[1]:,} cells; at most {most:,} can be audited. "
                "Cross fewer attributes, or gather their values into bins."
            )
        return cell, np.ascontiguousarray(present.T, dtype=np.int32)

    def table(self, by: Sequence[str], most: int | None = MAX_CELLS) -> CellTable:
        """Counts of the non-empty cells of a crossing; ``most`` as in `keys`."""
        cell, values = self.keys(by, most)
        k = len(self.labels)
        flat = (cell * k + self.label) * (k + 1) + self.prediction + 1
        counts = np.bincount(flat, weights=self.count, minlength=len(values) * k * (k + 1))
        counts = np.rint(counts).astype(np.int64).reshape(len(values), k, k + 1)
        return CellTable(tuple(by), self.value_names(by, values), self.labels, counts[:, :, 1:], counts[:, :, 0])

    def score_sums(self, by: Sequence[str]) -> np.ndarray:
        """Sum of each class's score: float64 (cells, k label, k prediction, k class of the score)."""
        cell, values = self.keys(by)
        k = len(self.labels)
        known = self.prediction >= 0
        flat = ((cell * k + self.label) * k + self.prediction)[known]
        sums = np.zeros((len(values) * k * k, k))
        np.add.at(sums, flat, self.score_sum[known])
        return sums.reshape(len(values), k, k, k)

    def value_names(self, by: Sequence[str], values: np.ndarray) -> tuple[tuple[str, ...], ...]:
        """The attribute values of cells, in words."""
        names = [self.attributes[self.attribute(name)].values for name in by]
        return tuple(tuple(names[i][code] for i, code in enumerate(row)) for row in values.tolist())


def value_codes(attribute: Attribute, wanted: Sequence[str]) -> list[int]:
    """Places of the wanted values.

    Raises
    ------
    NotFoundError
        For a value the attribute does not have, with the nearest.
    """
    for value in wanted:
        if value not in attribute.values:
            raise NotFoundError(
                f"The attribute '{attribute.name}' has no value '{value}'. {nearest(value, attribute.values)}"
            )
    return [attribute.values.index(value) for value in wanted]


def parse_where(texts: Sequence[str], known: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Filters as written on the command line: a comma means *and*, the same attribute again means *or*.

    >>> parse_where(["race=White,age=20-29", "race=Black"])
    {'race': ['White', 'Black'], 'age': ['20-29']}

    Parameters
    ----------
    texts : each ``attribute=value[,attribute=value...]``; a comma inside a value is kept where no ``=`` follows
    known : attribute names to check against

    Raises
    ------
    InputError
        Where there is no ``=``, or the attribute is unknown.
    """
    filters: dict[str, list[str]] = {}
    for text in texts:
        for part in _split_parts(text):
            name, sign, value = part.partition("=")
            if not sign or not name.strip():
                raise InputError(
                    f"The filter '{text}' cannot be read; expected ATTRIBUTE=VALUE, such as race=White, "
                    "several joined by commas."
                )
            if known is not None and name.strip() not in known:
                raise NotFoundError(f"There is no attribute '{name.strip()}'. {nearest(name.strip(), known)}")
            values = filters.setdefault(name.strip(), [])
            if value.strip() not in values:
                values.append(value.strip())
    return filters


def _split_parts(text: str) -> list[str]:
    parts: list[str] = []
    for piece in text.split(","):
        if "=" in piece or not parts:
            parts.append(piece)
        else:
            parts[-1] += "," + piece
    return parts
