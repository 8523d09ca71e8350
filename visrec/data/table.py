"""A bucket table: which images a bucket holds, how they are labelled, and what is wrong with the labels.

It is what every layout's reader returns; the readers share here how names are matched with objects, how splits are
spelled and which columns may be predicted.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from visrec.data.decisions import in_force
from visrec.data.images import is_image_name
from visrec.data.problems import Problem, problem
from visrec.errors import InputError
from visrec.storage.base import ObjectInfo, Store

RESERVED = ("file", "split", "sha256", "width", "height", "status", "row", "prediction")
MAX_VALUES = 200
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What a reader reads from: the store, its listing, the bucket's ``visrec.toml`` and the decisions kept here.

    The problems are those of the listing itself.
    """

    store: Store
    objects: dict[str, ObjectInfo]
    description: Mapping = field(default_factory=dict)
    decisions: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def images(self) -> list[str]:
        """Keys that end like an image, sorted."""
        return [key for key in self.objects if is_image_name(key)]

    @cached_property
    def in_force(self) -> dict[str, str]:
        """What was decided; see `visrec.data.decisions.in_force`."""
        return in_force(self.description, self.decisions)

    def decision(self, kind: str, choices: list[str]) -> str:
        """The choice in force for a kind of problem, the first one where nothing was decided."""
        chosen = self.in_force.get(kind, choices[0])
        if chosen not in choices:
            raise InputError(f"The decision for '{kind}' is '{chosen}'; expected one of {', '.join(choices)}.")
        return chosen


@dataclass(frozen=True)
class BucketTable:
    """The labelled images of a bucket.

    Attributes
    ----------
    layout : ``fairface``, ``label_table``, ``cloud_annotations`` or ``class_folders``
    samples : one row per labelled image that is there: ``file`` (its key), ``split`` (``train``, ``val``, ``test`` or
        "" where the bucket says nothing), then the label columns; an unknown value is missing (NaN)
    targets : columns that one may predict
    attributes : columns that one may slice by
    defaults : the bucket's own settings for a training (``[train]`` of its ``visrec.toml``)
    problems : what reading found
    repairs : what reading mended, in sentences, for the lineage of a run
    objects : the listing of the whole bucket, key -> ObjectInfo
    images : keys of all images, labelled or not
    decisions : problem kind -> choice, all that was decided (`visrec.data.decisions.in_force`)
    """

    layout: str
    samples: pd.DataFrame
    targets: list[str]
    attributes: list[str]
    defaults: dict = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    objects: dict[str, ObjectInfo] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    url: str = ""
    decisions: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str | None:
        """The column to predict unless the user says otherwise; None when several could be meant."""
        if chosen := self.defaults.get("target"):
            return chosen
        return self.targets[0] if len(self.targets) == 1 else None


def read_table(data: bytes, key: str) -> pd.DataFrame:
    """A table as text columns: CSV whatever its encoding and separator, JSON lines, or Parquet, by the key's ending.

    Blanks around names and values go, empty means missing. A name that was there before gets a number: ``label (2)``.

    Raises
    ------
    InputError
        If it holds no header row or cannot be parsed.
    """
    kind = key.lower().rpartition(".")[2]
    table = {"jsonl": _json_lines, "ndjson": _json_lines, "parquet": _parquet}.get(kind, _csv)(data, key)
    table.columns = unique_names(str(column).strip().strip('"') for column in table.columns)
    table = table.loc[:, [c for c in table.columns if not c.startswith("Unnamed:")]]
    table = table.apply(lambda c: c.astype("str").str.strip())
    return table.mask(table == "").dropna(how="all").reset_index(drop=True)


def _json_lines(data: bytes, key: str) -> pd.DataFrame:
    rows = []
    # not splitlines(): U+2028 and its kind may stand inside a text of JSON
    for number, line in enumerate(_text(data).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"Line {number} of '{key}' is not JSON ({error}); expected one object a line.") from error
        if not isinstance(row, dict):
            raise InputError(f"Line {number} of '{key}' is a {type(row).__name__}; expected one object a line.")
        rows.append({k: v if isinstance(v, str) or v is None else json.dumps(v) for k, v in row.items()})
    return pd.DataFrame(rows, dtype="object")


def _parquet(data: bytes, key: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"'{key}' cannot be read as Parquet ({str(error).splitlines()[0]}).") from error
    plain = [f.name for f in table.schema if not pa.types.is_nested(f.type) and not pa.types.is_binary(f.type)]
    return table.select(plain).to_pandas()


def _csv(data: bytes, key: str) -> pd.DataFrame:
    text = _text(data)
    header = text.split("\n", 1)[0]
    separator = max(",;\t|", key=header.count)
    try:
        return pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, na_values=[""], skipinitialspace=True,
            index_col=False, on_bad_lines="error",
        )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise InputError(
            f"'{key}' cannot be read as a table ({str(error).strip()}); expected a CSV whose first row "
            "names the columns."
        ) from error


def match_files(files: pd.Series, images: Iterable[str], *roots: str) -> pd.Series:
    """The key of each named file; missing where there is none, or where several could be meant.

    A name is taken as it stands; else below one of the ``roots`` (such as the folder of the label file); else by its
    longest agreeing end, so that copies with a ``fairface/`` too many or a folder too few are read right.
    """
    images = list(images)
    known = set(images)
    names = files.fillna("").str.replace("\\", "/", regex=False).str.removeprefix("./")
    keys = names.where(names.isin(known))
    for root in filter(None, roots):
        below = root + names
        keys = keys.where(keys.notna(), below.where(below.isin(known)))
    missing = keys.isna() & (names != "")
    if missing.any():
        by_name = _by_last_name(images)
        keys = keys.where(~missing, names[missing].map(lambda name: _by_end(name, by_name)).reindex(keys.index))
    return keys.astype("str")


def normalise_splits(values: pd.Series) -> tuple[pd.Series, list[Problem]]:
    """Splits as ``train``, ``val``, ``test`` or ""; unknown spellings are named."""
    words = values.fillna("").astype(str).str.strip().str.lower()
    splits = words.map(SPLITS).fillna("")
    strange = sorted(set(words[(splits == "") & (words != "")]))
    if not strange:
        return splits, []
    advice = "These split names are not known (train, val, test); their images are treated as training images."
    return splits, [problem("unknown_split", "warning", strange, advice)]


def unique_names(names: Iterable[str]) -> list[str]:
    """The names with a number behind each that was there before.

    >>> unique_names(["label", "label", "label (2)"])
    ['label', 'label (3)', 'label (2)']
    """
    names = list(names)
    given, taken = set(names), set()
    for position, name in enumerate(names):
        number = 1
        while names[position] in taken or (number > 1 and names[position] in given):
            number += 1
            names[position] = f"{name} ({number})"
        taken.add(names[position])
    return names


def labelled_rows(labels: pd.DataFrame, keys: pd.Series, splits: pd.Series | str) -> pd.DataFrame:
    """``file``, ``split`` and then the columns of labels, for the rows whose image is there.

    Parameters
    ----------
    labels : the columns of a table but for those that the keys and the splits were read from; those whose names visrec
        itself needs get `` (column)`` behind their name
    keys : the key of each row's image, missing where there is none
    splits : the split of each row, or of them all
    """
    samples = labels.set_axis(unique_names(f"{c} (column)" if c in RESERVED else c for c in labels), axis="columns")
    samples.insert(0, "file", keys)
    samples.insert(1, "split", splits)
    return samples[keys.notna()]


def choose_columns(samples: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The columns one may predict and those one may slice by.

    A target has at least two values; neither has more than 200, nor a different one for almost every image (that
    would be an identifier).
    """
    attributes, targets = [], []
    for column in samples.columns.drop(["file", "split"], errors="ignore"):
        known = samples[column].dropna()
        distinct = known.nunique()
        if not 1 <= distinct <= MAX_VALUES or (distinct > 20 and distinct > 0.5 * len(known)):
            continue
        attributes.append(column)
        if distinct > 1:
            targets.append(column)
    return targets, attributes


def label_problems(source: Source, samples: pd.DataFrame, missing: Iterable[str], unlabelled: Iterable[str]) -> list:
    """The problems every layout can have: labels without image, images without label, a file named twice."""
    missing, unlabelled = list(missing), list(unlabelled)
    found = []
    if missing:
        advice = "These labels name images that are not in the bucket; they are left out. Upload them or drop the rows."
        found.append(problem("missing_file", "error", missing, advice))
    if unlabelled:
        advice = "These images have no label and take no part in training. Label them, or leave them."
        found.append(problem("unlabelled", "warning", unlabelled, advice))
    return found


def drop_repeated(samples: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """One row per file: exact repeats are merged, a file with differing values is set aside."""
    if not samples["file"].duplicated().any():
        return samples, []
    once = samples.drop_duplicates(["file", *columns])
    torn = once["file"].duplicated(keep=False)
    found = []
    repeated = len(samples) - len(once)
    if repeated:
        found.append(repeated_problem(samples["file"][samples.duplicated(["file", *columns])]))
    if torn.any():
        advice = "The label table says different things of these images; they are set aside. Correct the table."
        found.append(problem("conflicting_rows", "error", sorted(set(once["file"][torn])), advice))
    return once[~torn].reset_index(drop=True), found


def repeated_problem(files: Iterable[str]) -> Problem:
    """Files that are labelled twice, and alike."""
    return problem("repeated_row", "info", files, "These rows say the same twice; they count once.")


def _text(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")  # the last letter of a file that was cut may be half a one
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _by_last_name(images: list[str]) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = {}
    for key in images:
        by_name.setdefault(key.rpartition("/")[2], []).append(key)
    return by_name


def _by_end(name: str, by_name: dict[str, list[str]]) -> str | None:
    candidates = [
        key for key in by_name.get(name.rpartition("/")[2], []) if key.endswith("/" + name) or name.endswith("/" + key)
    ]
    return candidates[0] if len(candidates) == 1 else None
