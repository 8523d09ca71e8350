"""A layout is how labels are written in a bucket; this module finds out which one it is, and reads it.

FairFace's CSVs, Cloud Annotations, Hugging Face's metadata, COCO, any label table and class folders are tried in this
order. A ``visrec.toml`` at the
bucket's root can name the layout, describe an unusual table and set the defaults of a training; it is only read.
"""

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping

from visrec.data import class_folders, cloud_annotations, coco, fairface, imagefolder, label_table
from visrec.data.problems import Problem, problem, sort_problems
from visrec.data.spelling import merge_spellings
from visrec.data.table import BucketTable, Source, choose_columns
from visrec.errors import InputError, NotFoundError, nearest
from visrec.storage.base import Store
from visrec.storage.upload import check_whole

__all__ = ["LAYOUTS", "BucketTable", "Problem", "open_source", "read_bucket"]

DESCRIPTION = "visrec.toml"
LAYOUTS = {
    "fairface": fairface,
    "cloud_annotations": cloud_annotations,
    "imagefolder": imagefolder,
    "coco": coco,
    "label_table": label_table,
    "class_folders": class_folders,
}


def read_bucket(store: Store, *, layout: str | None = None, decisions: Mapping[str, str] | None = None) -> BucketTable:
    """Read the labels of a bucket, whatever its layout.

    Parameters
    ----------
    store : the bucket
    layout : use this layout instead of the one that is found
    decisions : problem kind -> choice, for the kinds that leave a choice

    Raises
    ------
    InputError
        The bucket is empty, or nothing in it says what its images are; the message says what was looked for.
    """
    source = open_source(store, decisions)
    name = layout or source.description.get("layout") or detect(source)
    if name not in LAYOUTS:
        raise InputError(f"The layout '{name}' is not known. {nearest(name, LAYOUTS)}")
    table = _spelled(LAYOUTS[name].read(source), source)
    table = dataclasses.replace(table, problems=sort_problems([*source.problems, *table.problems]))
    if table.samples.empty:
        raise InputError(
            f"No image in {store.url} has a label (read as {name}: {len(source.images):,} images)."
            + _told(table.problems[:2])
        )
    return dataclasses.replace(
        table,
        samples=table.samples.sort_values("file", ignore_index=True),
        defaults={**table.defaults, **_train_defaults(source, table)},
        objects=source.objects,
        images=source.images,
        url=store.url,
        decisions=source.in_force,
    )


def open_source(store: Store, decisions: Mapping[str, str] | None = None) -> Source:
    """List the bucket and read its ``visrec.toml``; objects whose names are no text are left out and named."""
    listed = {info.key: info for info in store.list()}
    if not listed:
        raise NotFoundError(f"The bucket {store.url} is empty. Expected images, and labels for them.")
    objects = {key: info for key, info in listed.items() if _is_text(key)}
    check_whole(objects, store.url)
    problems = _unusable_names(key for key in listed if key not in objects)
    return Source(store, objects, _description(store, objects), decisions or {}, problems)


def detect(source: Source) -> str:
    """The name of the layout.

    Raises
    ------
    InputError
        If none fits.
    """
    for name, reader in LAYOUTS.items():
        if reader.detect(source):
            return name
    raise InputError(
        f"{source.store.url} has {len(source.objects):,} objects, {len(source.images):,} of them images, and nothing "
        "that labels them. Expected FairFace label files (fairface_label_train.csv), a table with a 'file' column "
        "(CSV, JSON lines or Parquet), Cloud Annotations' _annotations.json, COCO annotations, or a folder per class; "
        "a visrec.toml can describe anything else." + _told(source.problems)
    )


def _told(problems: list[Problem]) -> str:
    return "".join(f" {p.kind}: {p.count:,}, such as {p.examples[0]}." for p in problems)


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unusable_names(keys: Iterable[str]) -> list[Problem]:
    """Names with bytes that are not UTF-8: no table of samples, no report and no record could hold them."""
    shown = [key.encode(errors="backslashreplace").decode() for key in keys]
    advice = "These names hold bytes that are not UTF-8; the objects are left out. Rename them, and inspect again."
    return [problem("unusable_name", "error", shown, advice)] if shown else []


def _spelled(table: BucketTable, source: Source) -> BucketTable:
    """The table with careless spellings merged; FairFace's own columns have been seen to by its reader."""
    columns = [c for c in table.attributes if not (table.layout == "fairface" and c in fairface.KNOWN)]
    samples, problems, repairs = merge_spellings(table.samples, columns, table.target, source.decision)
    if not problems:
        return table
    targets, attributes = choose_columns(samples)
    targets = [c for c in table.targets if c in targets]
    return dataclasses.replace(
        table,
        samples=samples,
        targets=targets,
        attributes=[c for c in table.attributes if c in attributes],
        problems=[*table.problems, *problems],
        repairs=[*table.repairs, *repairs],
    )


def _description(store: Store, objects: Mapping) -> dict:
    if DESCRIPTION not in objects:
        return {}
    try:
        return tomllib.loads(store.read(DESCRIPTION).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{DESCRIPTION} in {store.url} is not valid TOML: {error}.") from error


def _train_defaults(source: Source, table: BucketTable) -> dict:
    defaults = dict(source.description.get("train", {}))
    wanted = [defaults["target"]] if "target" in defaults else []
    by = defaults.get("by", [])
    by = [by] if isinstance(by, str) else by
    if not isinstance(by, list):
        raise InputError(
            f'{DESCRIPTION} in {source.store.url} says by = {by!r}; expected names such as ["race", "age"].'
        )
    if "by" in defaults:
        defaults["by"] = by
    for name in [*wanted, *by]:
        if name not in table.samples:
            raise InputError(
                f"{DESCRIPTION} in {table.url or source.store.url} names the column '{name}'. "
                f"{nearest(name, table.samples.columns.drop(['file', 'split']))}"
            )
    return defaults
