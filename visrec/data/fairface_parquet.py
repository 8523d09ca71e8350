"""FairFace from its Parquet copy: images and integer codes back into the published folders and label files.

A Parquet file has the columns image (bytes and path), age, gender, race, service_test; what a code means is read
from the file's own description (Hugging Face's ``ClassLabel``), else it is the order of the published copy.
"""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from visrec.data.fairface import AGES
from visrec.errors import InputError

CODES = {
    "age": list(AGES),
    "gender": ["Male", "Female"],
    "race": ["East Asian", "Indian", "Black", "White", "Middle Eastern", "Latino_Hispanic", "Southeast Asian"],
}
COLUMNS = ("age", "gender", "race", "service_test")
SPLIT = re.compile(r"(?:^|[-_])(train|validation|val)(?:[-_.]|$)")
BATCH = 256  # rows in memory at once


def convert(files: Sequence[Path], folder: Path) -> None:
    """Write FairFace's layout: ``train/1.jpg`` and so on, numbered as the rows come, and a label file per split.

    Parameters
    ----------
    files : Parquet files whose names say their split (``train`` or ``validation``), in the order of their rows
    folder : empty folder to fill

    Raises
    ------
    InputError
        If a file is no such Parquet file.
    """
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file), []).append(file)
    for split, parts in by_split.items():
        (folder / split).mkdir()
        with open(folder / f"fairface_label_{split}.csv", "w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(("file", *COLUMNS))
            for number, (image, labels) in enumerate((row for part in parts for row in _rows(part)), 1):
                key = f"{split}/{number}.jpg"
                (folder / key).write_bytes(image)
                table.writerow((key, *labels))


def _split_of(file: Path) -> str:
    found = SPLIT.search(file.name)
    if not found:
        raise InputError(f"'{file.name}' does not say its split; expected 'train' or 'validation' in its name.")
    return "train" if found[1] == "train" else "val"


def _rows(file: Path) -> Iterator[tuple[bytes, list]]:
    from pyarrow import ArrowException

    try:
        table = pq.ParquetFile(file)
        missing = {"image", *COLUMNS} - set(table.schema_arrow.names)
        if missing:
            raise InputError(
                f"'{file.name}' has no column {', '.join(sorted(missing))}; "
                "expected FairFace's: image, age, gender, race, service_test."
            )
        words = _words(table.schema_arrow.metadata or {})
        for batch in table.iter_batches(BATCH, columns=["image", *COLUMNS]):
            for row in batch.to_pylist():
                yield _image(row, file), [_word(words.get(name), row[name], name) for name in COLUMNS]
    except (ArrowException, OSError) as error:
        raise InputError(f"'{file.name}' is not a whole Parquet file ({str(error).splitlines()[0]}).") from error


def _words(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Column -> what its codes mean."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return CODES
    return {name: features.get(name, {}).get("names") or CODES[name] for name in CODES}


def _image(row: dict, file: Path) -> bytes:
    image = row["image"]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise InputError(f"'{file.name}' holds no image bytes, perhaps only paths; get the copy with images inside.")
    return data


def _word(words: list[str] | None, value, column: str) -> str:
    """The published word for a code; what is no code stays as it is, an unknown stays empty."""
    if value is None:
        return ""
    if words is None or isinstance(value, str | bool):
        return str(value)
    if not 0 <= int(value) < len(words):
        raise InputError(f"{column} holds the code {value}; expected 0 to {len(words) - 1}.")
    return words[int(value)]
