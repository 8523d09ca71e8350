"""Hugging Face's ``imagefolder`` layout: a ``metadata.csv`` (or ``.jsonl``, ``.parquet``) in each folder of images.

Its ``file_name`` is relative to the folder of the table; the folder's name is the split if it is one. Where several
tables lie in one folder tree, each speaks for its own.
"""

import re

import pandas as pd

from visrec.data.label_table import LABEL_COLUMNS, column_of
from visrec.data.problems import problem
from visrec.data.table import (
    SPLITS,
    BucketTable,
    Source,
    choose_columns,
    drop_repeated,
    label_problems,
    labelled_rows,
    match_files,
    normalise_splits,
    read_table,
)
from visrec.errors import InputError

METADATA = re.compile(r"(?:.*/)?metadata\.(csv|jsonl|parquet)$")
NAMES = ("file_name", "image_file_name", "file")


def detect(source: Source) -> bool:
    """Whether a metadata table with a column of file names is there."""
    for key in _tables(source):
        try:
            table = read_table(source.store.read(key), key)
        except InputError:  # such as an empty one: it labels nothing, another layout may
            continue
        if column_of(table, NAMES):
            return True
    return False


def read(source: Source) -> BucketTable:
    """Read every metadata table."""
    parts, missing, problems = [], [], []
    for key in _tables(source):
        table = read_table(source.store.read(key), key)
        column = column_of(table, NAMES)
        if column is None:
            raise InputError(f"'{key}' has the columns {', '.join(table.columns)}; expected 'file_name' among them.")
        folder = key.rpartition("/")[0]
        # a table speaks of the images beside and below it: the same name in another folder is another image
        below = [key for key in source.images if key.startswith(f"{folder}/")] if folder else source.images
        keys = match_files(table[column], below, f"{folder}/" if folder else "")
        missing += [f"{name} ({key})" for name in table[column][keys.isna()].fillna("(no name)")]
        top = next((SPLITS[p.lower()] for p in folder.split("/") if p.lower() in SPLITS), "")
        if "split" in table:
            splits, found = normalise_splits(table["split"])
            problems += found
        else:
            splits = top or keys.str.split("/").str[0].str.lower().map(SPLITS).fillna("")
        parts.append(labelled_rows(table.drop(columns=[column, "split"], errors="ignore"), keys, splits))
    samples = pd.concat(parts, ignore_index=True)
    samples["split"] = samples["split"].fillna("").astype("str")
    samples, found = drop_repeated(samples, [c for c in samples if c not in ("file", "split")])
    unlabelled = sorted(set(source.images) - set(samples["file"]))
    problems += [*found, *label_problems(source, samples, missing, unlabelled)]
    problems += _nested(source)
    targets, attributes = choose_columns(samples)
    label = column_of(samples[targets], LABEL_COLUMNS)
    return BucketTable("imagefolder", samples, targets, attributes, {"target": label} if label else {}, problems)


def _tables(source: Source) -> list[str]:
    return [key for key in source.objects if METADATA.match(key)]


def _nested(source: Source) -> list:
    """Lists and objects in the metadata (boxes, captions by language) are kept as text; say so once."""
    found = []
    for key in _tables(source):
        table = read_table(source.store.read(key), key)
        columns = [c for c in table.columns if table[c].str.startswith(("[", "{"), na=False).any()]
        found += [f"{key}: {c}" for c in columns]
    advice = "These columns hold lists or objects, which are no labels for a whole image."
    return [problem("nested_column", "info", found, advice)] if found else []
