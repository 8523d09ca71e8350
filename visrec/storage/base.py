"""A Store: named objects with bytes in them, wherever they lie.

A folder and an S3 bucket are siblings behind one protocol; the rest of visrec knows only this. Keys use
``/`` and are relative to the store's root. Writing is atomic for readers: an object is there whole or not at all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class ObjectInfo:
    """One object as a listing shows it: key, size in bytes, and a tag that changes when the bytes do."""

    key: str
    size: int
    etag: str
    modified: float = 0.0


@runtime_checkable
class Store(Protocol):
    """Where objects lie.

    Raises ``NotFoundError`` for a key or root that does not exist, ``AccessError`` when refused and
    ``OutsideError`` when the store cannot be reached, after retries.
    """

    url: str
    """Where this is, fit to be shown: never holds a secret."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, sorted by key."""

    def read(self, key: str) -> bytes:
        """The bytes of one object, verified against the listing where the store allows it."""

    def read_many(
        self, keys: Iterable[str], stop: Callable[[], bool] | None = None
    ) -> Iterator[tuple[str, bytes | Exception]]:
        """Read in parallel with bounded memory; yields in order of arrival; one failure never ends the rest."""

    def write(self, key: str, data: bytes) -> None:
        """Put the bytes there, atomically for readers."""

    def delete(self, key: str) -> None:
        """Remove one object; nothing happens if it is not there."""

    def exists(self, key: str) -> bool:
        """Whether an object of that key is there."""

    def sub(self, prefix: str) -> "Store":
        """The store below ``prefix``, with keys relative to it."""

    def local_path(self, key: str) -> Path | None:
        """The path of an object that lies on this machine, None for a remote store."""
