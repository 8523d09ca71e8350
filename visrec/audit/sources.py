"""Where predictions come from: a CSV file, a Parquet file or a table in memory, read in batches.

A *source* knows its column names and gives any of its columns batch by batch, so that a table larger than memory is
never held whole. Text stays text: ``3-9`` is an age, not a date, and ``007`` keeps its zeros.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from visrec.errors import InputError, NotFoundError, nearest

BATCH = 1_000_000
MISSING_WORDS = ("", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A")
"""Spellings of "no value" in a text column of a file."""
BLANK = ("",)
"""The only one in memory, where a missing value is null and ``None`` may be the name of a class or group."""


@dataclass(frozen=True)
class Source:
    """A table that can be read in batches.

    Attributes
    ----------
    name : what to call it in a message
    columns : its column names
    rows : number of rows, or None where only reading tells
    nulls : words that stand for a missing value
    nested : columns of lists or structures (embeddings, boxes), which are none of ``columns``: no word stands for one
    """

    name: str
    columns: tuple[str, ...]
    rows: int | None
    table: pa.Table | None = None
    path: Path | None = None
    nulls: tuple[str, ...] = MISSING_WORDS
    nested: tuple[str, ...] = ()

    def missing(self, column: str) -> tuple[str, ...]:
        """The words of this column that stand for a missing value."""
        return self.nulls

    def batches(self, columns: Sequence[str], size: int = BATCH, plain: Sequence[str] = ()) -> Iterator[pa.Table]:
        """The named columns, ``size`` rows at a time; ``plain`` ones hold names, too many for a dictionary."""
        wanted = list(dict.fromkeys(columns))
        if self.table is not None:
            table = self.table.select(wanted)
            yield from (table.slice(start, size) for start in range(0, table.num_rows, size))
        elif _is_parquet(self.path):
            yield from _parquet_batches(self.path, wanted, size, plain)
        else:
            yield from _csv_batches(self.path, wanted, self.columns)

    def require(self, column: str, role: str) -> str:
        """The column name, if there is such a column.

        Raises
        ------
        NotFoundError
            Naming the nearest column and those there are.
        InputError
            For a column of lists or structures.
        """
        if column in self.nested:
            raise InputError(
                f"The column '{column}' of {self.name} ({role}) holds lists or structures; expected one word or number "
                "per row. Name another column, or write what is wanted of it as a column of its own."
            )
        if column not in self.columns:
            raise NotFoundError(f"{self.name} has no column '{column}' ({role}). {nearest(column, self.columns, 30)}")
        return column


def open_source(source: "Path | str | pd.DataFrame | pa.Table") -> Source:
    """A source from a path to a CSV or Parquet file, or from a table in memory.

    Raises
    ------
    NotFoundError
        If there is no such file.
    InputError
        If it cannot be read as a table, or holds no rows.
    """
    if isinstance(source, pd.DataFrame):
        return _checked(_from_frame(source))
    if isinstance(source, pa.Table):
        return _checked(_in_memory(source))
    path = Path(source)
    if not path.is_file():
        raise NotFoundError(f"There is no file '{path}'; expected a CSV or Parquet table of predictions.")
    return _checked(_open_parquet(path) if _is_parquet(path) else _open_csv(path))


def to_text(column: pa.ChunkedArray | pa.Array, missing: Sequence[str] = MISSING_WORDS) -> pa.DictionaryArray:
    """A column as dictionary-encoded text; missing values, and words that stand for one, are null.

    Whole numbers are written without a decimal point (``3.0`` is ``3``), truth values as True and False.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps several chunks where offsets overflow
        array = pa.concat_arrays(array.chunks)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(array.indices, _spelled(array.dictionary, missing))


def to_numbers(column: pa.ChunkedArray | pa.Array, name: str, source: str) -> np.ndarray:
    """A column as float64, NaN where missing.

    Raises
    ------
    InputError
        Where text stands instead of a number, with the first such text.
    """
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return (
            column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            if isinstance(column, pa.Array)
            else (column.cast(pa.float64()).to_numpy())
        )
    text = to_text(column)
    words = text.dictionary.to_pylist()
    values = np.array([_number(w, name, source) for w in words] + [np.nan])
    return values[_indices(text)]


def codes(text: pa.DictionaryArray) -> tuple[np.ndarray, list[str]]:
    """Codes (int32, -1 where missing) and the words they stand for; words may repeat."""
    return _indices(text), text.dictionary.to_pylist()


def _indices(text: pa.DictionaryArray) -> np.ndarray:
    indices = text.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    nulls = np.flatnonzero(text.dictionary.is_null().to_numpy(zero_copy_only=False))
    if len(nulls):
        indices = np.where(np.isin(indices, nulls), np.int32(-1), indices)
    return indices


def _number(word: str | None, name: str, source: str) -> float:
    if word is None:
        return np.nan
    try:
        return float(word)
    except ValueError:
        raise InputError(
            f"The column '{name}' of {source} should hold numbers, but has the text '{word}'. "
            "Name another column, or mend the text."
        ) from None


def _spelled(words: pa.Array, missing: Sequence[str]) -> pa.Array:
    kind = words.type
    if pa.types.is_boolean(kind):
        return pc.if_else(words, "True", "False")
    if pa.types.is_floating(kind):
        values = words.to_pylist()
        return pa.array([None if v is None or v != v else _tidy(v) for v in values], pa.string())
    text = words.cast(pa.string()) if not pa.types.is_string(kind) else words
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(
        pc.is_in(trimmed, value_set=pa.array(missing, pa.string())), pa.scalar(None, pa.string()), trimmed
    )


def _tidy(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(value)


def _checked(source: Source) -> Source:
    if source.rows == 0:
        raise InputError(f"{source.name} has no rows; expected one row per image with its label and prediction.")
    twice = sorted({c for c in source.columns if source.columns.count(c) > 1})
    if twice:
        raise InputError(f"{source.name} has more than one column named {', '.join(twice)}; rename one.")
    return source


def _from_frame(frame: pd.DataFrame) -> Source:
    plain = frame.rename(columns=str)
    try:
        table = pa.Table.from_pandas(plain, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # a column of mixed types: spell its values out
        mixed = plain.select_dtypes(object).columns
        table = pa.Table.from_pandas(
            plain.assign(**{c: plain[c].map(lambda v: v if pd.isna(v) else str(v)) for c in mixed}),
            preserve_index=False,
        )
    return _in_memory(table)


def _in_memory(table: pa.Table) -> Source:
    columns, nested = _plain_and_nested(table.schema)
    return Source("the table", columns, table.num_rows, table=table, nulls=BLANK, nested=nested)


def _plain_and_nested(schema: pa.Schema) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the columns that hold one value a row, and of those that hold lists or structures."""

    def nested(kind: pa.DataType) -> bool:
        return pa.types.is_nested(kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind)

    return tuple(f.name for f in schema if not nested(f.type)), tuple(f.name for f in schema if nested(f.type))


def _is_parquet(path: Path) -> bool:
    if path.suffix.lower() in {".parquet", ".pq"}:
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _open_parquet(path: Path) -> Source:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns, nested = _plain_and_nested(file.schema_arrow)
            return Source(f"'{path.name}'", columns, file.metadata.num_rows, path=path, nested=nested)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"'{path}' cannot be read as Parquet ({_first_line(error)}).") from None


def _parquet_batches(path: Path, columns: list[str], size: int, plain: Sequence[str]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    # dictionary reading keeps text small; buffered pages keep a large row group from being held whole
    with pq.ParquetFile(path) as probe:
        words = [f.name for f in probe.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    few = [name for name in words if name in columns and name not in plain]
    with pq.ParquetFile(path, read_dictionary=few, buffer_size=1 << 20, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=size, columns=columns):
            yield pa.Table.from_batches([batch])


def _open_csv(path: Path) -> Source:
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, None)
            first = next((row for row in reader if row), None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"'{path}' is not a CSV table in UTF-8 ({_first_line(error)}).") from None
    if not header or not any(h.strip() for h in header):
        raise InputError(f"'{path}' is empty; expected a header line and one row per image.")
    names = tuple(h.strip() or f"column {i + 1}" for i, h in enumerate(header))
    return Source(f"'{path.name}'", names, 0 if first is None else None, path=path)


def _csv_batches(path: Path, columns: list[str], header: Sequence[str]) -> Iterator[pa.Table]:
    from pyarrow import csv

    options = csv.ConvertOptions(
        column_types={name: pa.string() for name in header}, include_columns=columns, strings_can_be_null=False
    )
    reading = csv.ReadOptions(column_names=list(header), skip_rows=1, block_size=1 << 26)
    try:
        reader = csv.open_csv(path, reading, csv.ParseOptions(newlines_in_values=True), options)
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        raise InputError(f"'{path.name}' cannot be read as CSV: {_first_line(error)}.") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
