"""The label-table layout: one row per image, a column of file names and columns of labels; CSV, JSON lines or Parquet.

Which column names the files and which one is predicted is guessed from common names, and said by the bucket's
``visrec.toml`` where the guess would be wrong.
"""

import pandas as pd

from visrec.data.problems import problem
from visrec.data.table import (
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
from visrec.errors import InputError, nearest

FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_path", "path", "filepath", "img", "key", "image_id")
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "class_name")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SPLIT_COLUMNS = ("split", "subset", "set", "fold", "partition")


def detect(source: Source) -> bool:
    """Whether the description names a table, or a table near the root has a column of file names."""
    return bool(source.description.get("labels", {}).get("table")) or find_table(source) is not None


def find_table(source: Source) -> str | None:
    """The first table, nearest to the root, that has a ``file`` column."""
    candidates = [key for key in source.objects if key.lower().endswith(TABLES) and key.count("/") <= 1]
    for key in sorted(candidates, key=lambda k: (k.count("/"), k)):
        try:
            table = read_table(source.store.read(key), key)
        except InputError:
            continue
        if column_of(table, FILE_COLUMNS) and len(table.columns) > 1:
            return key
    return None


def read(source: Source) -> BucketTable:
    """Read the table that the description names, or the one found."""
    said = dict(source.description.get("labels", {}))
    key = said.get("table") or find_table(source)
    if key not in source.objects:
        raise InputError(f"visrec.toml names the label table '{key}', which is not in the bucket {source.store.url}.")
    table = read_table(source.store.read(key), key)
    file = _named(table, said.get("file"), FILE_COLUMNS, key)
    split = said.get("split") or column_of(table.drop(columns=file), SPLIT_COLUMNS)
    if split and split not in table:
        raise InputError(f"visrec.toml names the column '{split}' for the splits. {nearest(split, table.columns)}")
    root = said.get("root", key.rpartition("/")[0])
    keys = match_files(table[file], source.images, root.rstrip("/") + "/" if root else "")
    there = keys.notna()
    splits, problems = normalise_splits(table[split] if split else pd.Series("", index=table.index))
    samples = labelled_rows(table.drop(columns=[file] + ([split] if split else [])), keys, splits)
    samples, found = drop_repeated(samples.reset_index(drop=True), [c for c in samples if c not in ("file", "split")])
    problems += found
    missing = table[file][~there].fillna("(no name)")
    problems += label_problems(source, samples, missing, sorted(set(source.images) - set(keys[there])))
    moved = there & (keys != table[file])
    if moved.any() and not root:
        shown = [f"{old} -> {new}" for old, new in zip(table[file][moved], keys[moved], strict=True)]
        problems.append(problem("path_prefix", "info", shown, "Matched by the end of the name."))
    targets, attributes = choose_columns(samples)
    label = said.get("target") or column_of(samples[targets], LABEL_COLUMNS)
    if label and label not in samples:
        raise InputError(f"visrec.toml names the target '{label}'. {nearest(label, targets)}")
    return BucketTable("label_table", samples, targets, attributes, {"target": label} if label else {}, problems)


def _named(table: pd.DataFrame, said: str | None, usual: tuple[str, ...], key: str) -> str:
    name = said or column_of(table, usual)
    if name is None or name not in table:
        wanted = said or "file"
        raise InputError(
            f"'{key}' has no column '{wanted}' with the names of the images. {nearest(wanted, table.columns)} "
            'Name it in visrec.toml: [labels] file = "...".'
        )
    return name


def column_of(table: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    """The first of the usual names that the table has, in any case; None if it has none."""
    lowered = {str(column).lower(): column for column in reversed(table.columns)}
    return next((lowered[name] for name in usual if name in lowered), None)
