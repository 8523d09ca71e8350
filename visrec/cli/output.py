"""What a command prints: one JSON document for programs, aligned columns for people."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Any


def jsonable(value: Any) -> Any:
    """A copy that JSON can hold: NaN and infinities become null, NumPy and pandas values become plain ones.

    >>> jsonable({"a": float("nan"), "b": (1, 2)})
    {'a': None, 'b': [1, 2]}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return jsonable(value.tolist())
    return str(value)


def print_json(value: Any) -> None:
    """Exactly one JSON document on standard output."""
    json.dump(jsonable(value), sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def columns(rows: Sequence[Sequence[Any]], header: Sequence[str]) -> str:
    """Aligned text columns; numbers to the right.

    >>> print(columns([["a", 1], ["bcd", 20]], ["name", "n"]))
    name   n
    a      1
    bcd   20
    """
    table = [list(header), *[["" if c is None else str(c) for c in row] for row in rows]]
    numeric = [all(not isinstance(r[i], str) for r in rows) if rows else False for i in range(len(header))]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    lines = (
        "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True))
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)


def note(message: str) -> None:
    """A remark for people, on standard error so that it never mixes with the result."""
    print(message, file=sys.stderr, flush=True)
