"""File names as keys: the same image named twice, and attributes joined from another table.

A *key* is a 64-bit digest of a file name, so that 50 million names take 400 MB and are compared by sorting. Two
tables that name the same images under different folders are matched by as much of the path's end as agrees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from visrec.audit.sources import BATCH, Source
from visrec.errors import InputError

WIDEST = 256
"""Names longer than this take the slower way."""


def file_keys(names: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A digest of each name: uint64 (rows,); equal names have equal digests, 0 is a missing or blank name.

    >>> keys = file_keys(pa.array(["a.jpg", "b.jpg", "a.jpg", None, " "]))
    >>> bool(keys[0] == keys[2] != keys[1]), int(keys[3]), int(keys[4])
    (True, 0, 0)
    """
    names = pa.chunked_array([names]) if isinstance(names, pa.Array) else names
    chunks = [_chunk_keys(chunk) for chunk in names.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype=np.uint64)


def _chunk_keys(names: pa.Array) -> np.ndarray:
    if pa.types.is_dictionary(names.type):
        words = _chunk_keys(names.dictionary)
        return np.append(words, np.uint64(0))[names.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    names = names.cast(pa.string()) if not pa.types.is_string(names.type) else names
    names = names.fill_null("")
    # a CSV has no other way to leave a name out than a blank, and a hundred such rows are not one file
    blank = pc.or_(pc.equal(pc.binary_length(names), 0), pc.utf8_is_space(names))
    missing = blank.to_numpy(zero_copy_only=False)
    longest = pc.max(pc.binary_length(names)).as_py() or 0
    if longest <= WIDEST and pc.all(pc.string_is_ascii(names)).as_py():
        keys = _mix(_padded(names, longest))
    else:
        parts = [_mix(_encoded(names[i : i + 65_536])) for i in range(0, len(names), 65_536)]
        keys = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
    return np.where(missing, np.uint64(0), np.where(keys == 0, np.uint64(1), keys))


def _padded(names: pa.Array, longest: int) -> np.ndarray:
    """The bytes of short ASCII names, filled up with zeros: uint64 (rows, words)."""
    width = -(-max(longest, 1) // 8) * 8
    padded = pc.ascii_rpad(names, width, padding="\0")
    start = padded.offset * width
    return np.frombuffer(padded.buffers()[2], dtype=np.uint64, count=len(padded) * width // 8, offset=start).reshape(
        len(padded), width // 8
    )


def _encoded(names: pa.Array) -> np.ndarray:
    """The bytes of any names, filled up with zeros: uint64 (rows, words)."""
    spelled = [name.encode() for name in names.to_pylist()]
    width = -(-max(map(len, spelled), default=1) // 8) * 8 or 8
    return np.array(spelled, dtype=f"S{width}").view(np.uint64).reshape(len(spelled), width // 8)


def _mix(words: np.ndarray) -> np.ndarray:
    """Multiply and fold word by word; words of zeros change nothing, so that the width does not matter."""
    keys = np.full(len(words), np.uint64(0x9E3779B97F4A7C15))
    for column in words.T:
        mixed = (keys ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
        keys = np.where(column == 0, keys, mixed)
    return keys


def repeated(keys: np.ndarray) -> np.ndarray:
    """Keys that occur more than once (a missing name is no repetition), sorted: uint64."""
    ordered = np.sort(keys)
    same = ordered[1:] == ordered[:-1]
    return np.unique(ordered[1:][same & (ordered[1:] != 0)])


@dataclass(frozen=True)
class Repeats:
    """Rows of files that occur more than once.

    Attributes
    ----------
    again : places of rows that repeat an earlier one word for word (label, prediction)
    conflicting : places of all rows of files that are answered or labelled in more than one way
    """

    again: np.ndarray
    conflicting: np.ndarray


def sort_repeats(keys: np.ndarray, answers: np.ndarray, places: np.ndarray) -> Repeats:
    """Tell harmless repetitions from contradictions.

    Parameters
    ----------
    keys : uint64 (rows,), digests of repeated files only
    answers : int64 (rows,), one code per (label, prediction)
    places : int64 (rows,), where each row stands in the table
    """
    frame = pd.DataFrame({"key": keys, "answer": answers, "place": places})
    kinds = frame.groupby("key")["answer"].transform("nunique").to_numpy()
    later = frame.duplicated("key", keep="first").to_numpy()
    return Repeats(again=places[(kinds == 1) & later], conflicting=places[kinds > 1])


@dataclass(frozen=True)
class JoinedSource(Source):
    """A source with attribute columns of another table added, row by row, by file name."""

    base: Source | None = None
    file: str = "file"
    extra: pa.Table | None = None
    keys: np.ndarray | None = None
    depth: int = 0
    extra_nulls: tuple[str, ...] = ()

    def missing(self, column: str) -> tuple[str, ...]:
        """The words of this column that stand for a missing value in the table it comes from."""
        return self.base.missing(column) if column in self.base.columns else self.extra_nulls

    def batches(self, columns: Sequence[str], size: int = BATCH, plain: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The named columns of both tables; rows without a partner have nulls."""
        own = [c for c in columns if c in self.base.columns]
        added = [c for c in columns if c not in self.base.columns]
        for batch in self.base.batches([*own, self.file] if added else own, size, plain):
            for name in added:
                batch = batch.append_column(name, self._looked_up(batch[self.file], name))
            yield batch

    def _looked_up(self, names, column: str) -> pa.Array:
        wanted = file_keys(path_ends(names, self.depth))
        place = np.searchsorted(self.keys, wanted)
        place = np.minimum(place, len(self.keys) - 1)
        found = (self.keys[place] == wanted) & (wanted != 0)
        return self.extra[column].take(pa.array(place, mask=~found)).combine_chunks()


def join(source: Source, attributes: Source, file: str) -> tuple[JoinedSource, dict[str, int]]:
    """Add the columns of an attribute table by file name, folders reconciled.

    The deepest end of the path (whole path, last three parts, two, one) that matches the most names without
    making two attribute rows alike is used.

    Returns
    -------
    joined source; and ``{"matched": rows, "unmatched": rows, "depth": parts used, 0 = whole path}`` of the first batch

    Raises
    ------
    InputError
        If the table has no such file column, names a file twice with different values, or no name matches.
    """
    source.require(file, "the file name, needed to join attributes")
    attributes.require(file, "the file name, needed to join attributes")
    new = [c for c in attributes.columns if c != file and c not in source.columns]
    if not new:
        raise InputError(
            f"{attributes.name} adds no column: {source.name} already has {', '.join(attributes.columns)}."
        )
    extra = pa.concat_tables(list(attributes.batches([file, *new])), promote_options="permissive").combine_chunks()
    extra = _once(extra, file, attributes.name)
    sample = next(iter(source.batches([file])))[file]
    depth, matched = max(((d, _matches(sample, extra[file], d)) for d in (0, 4, 3, 2, 1)), key=lambda found: found[1])
    if not matched:
        raise InputError(
            f"No file of {source.name} (such as '{sample[0]}') is named in {attributes.name} "
            f"(such as '{extra[file][0]}'); the two must name the same images."
        )
    keys = file_keys(path_ends(extra[file], depth))
    order = np.argsort(keys, kind="stable")
    joined = JoinedSource(
        source.name,
        (*source.columns, *new),
        source.rows,
        base=source,
        file=file,
        extra=extra.select(new).take(pa.array(order)),
        keys=keys[order],
        depth=depth,
        extra_nulls=attributes.nulls,
        nested=(*source.nested, *(c for c in attributes.nested if c not in source.columns)),
    )
    return joined, {"matched": matched, "unmatched": len(sample) - matched, "depth": depth}


def _once(extra: pa.Table, file: str, name: str) -> pa.Table:
    """One row per file: rows that say the same twice are dropped.

    Raises
    ------
    InputError
        Naming a file of which the rows say different things.
    """
    keys = file_keys(extra[file])
    again = np.flatnonzero(np.isin(keys, repeated(keys)))
    if not len(again):
        return extra
    rows = extra.take(pa.array(again)).to_pandas()
    once = rows.drop_duplicates()[file]
    torn = once[once.duplicated()].unique()
    if len(torn):
        raise InputError(
            f"{name} says different things of {len(torn):,} files, such as '{torn[0]}'; expected one row per file. "
            "Correct or remove the rows that are wrong."
        )
    keep = np.ones(len(keys), dtype=bool)
    keep[again[rows.duplicated().to_numpy()]] = False
    return extra.filter(pa.array(keep))


def path_ends(names, depth: int):
    """The last ``depth`` parts of each path; 0 is the whole path.

    >>> path_ends(pa.array(["a/b/c.jpg", "c.jpg"]), 2).to_pylist()
    ['b/c.jpg', 'c.jpg']
    """
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):  # a dictionary, or numbers
        names = names.cast(pa.string())
    if depth == 0:
        return names
    return pc.replace_substring_regex(names, rf"^.*?((?:[^/]*/){{0,{depth - 1}}}[^/]*)$", r"\1")


def _matches(names, others, depth: int) -> int:
    keys = file_keys(path_ends(others, depth))
    if len(repeated(keys)):
        return 0
    return int(np.isin(file_keys(path_ends(names, depth)), keys[keys != 0]).sum())
