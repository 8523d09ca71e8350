"""A problem: one kind of fault in a bucket, counted, with examples and with advice.

Severity says what it means for a training: ``error`` loses images or labels, ``warning`` may mislead a model or an
audit, ``info`` is worth knowing and needs no action.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

SEVERITIES = ("error", "warning", "info")
EXAMPLES = 5


@dataclass(frozen=True)
class Problem:
    """One kind of fault.

    Attributes
    ----------
    kind : stable name, such as ``duplicate_across_splits``
    severity : ``error``, ``warning`` or ``info``
    count : how many objects or values are concerned
    examples : a few of them, ready to be shown
    advice : what it means and what to do
    choices : decisions that may be taken (``visrec inspect --decide KIND=CHOICE``); the first one is in force
        unless another was decided; empty if there is nothing to decide
    """

    kind: str
    severity: str
    count: int
    examples: list[str]
    advice: str
    choices: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        """A plain dict, as the command line prints it."""
        return asdict(self)


def problem(kind: str, severity: str, items: Iterable, advice: str, choices: Iterable[str] = ()) -> Problem:
    """A problem from everything it concerns; the count is all of it, the examples are the first few.

    >>> problem("tiny", "warning", ["a.jpg", "b.jpg"], "Look at them.").count
    2
    """
    items = [str(item) for item in items]
    return Problem(kind, severity, len(items), items[:EXAMPLES], advice, list(choices))


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Gravest first, then by count."""
    return sorted(problems, key=lambda p: (SEVERITIES.index(p.severity), -p.count, p.kind))
