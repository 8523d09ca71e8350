"""A decision settles a problem that reading alone cannot: what to do with it, taken once, kept for the next training.

Decisions lie in ``decisions/<bucket>.toml`` of the cache, one table per bucket URL; the bucket itself is never changed.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from visrec.errors import InputError, OutsideError, nearest
from visrec.storage.folder import FolderStore
from visrec.storage.lock import file_lock

CHOICES = {
    "multiple_labels": ["set_aside", "first", "combine"],
    "localization": ["as_labels", "leave_out"],
    "excel_damage": ["repair", "keep"],
    "alias_value": ["repair", "keep"],
    "alias_label": ["merge", "keep"],
    "duplicate": ["keep", "drop_extra"],
    "duplicate_across_splits": ["drop_from_train", "keep"],
    "conflicting_labels": ["keep", "drop"],
    "near_duplicate": ["keep_together", "ignore"],
    "rare_class": ["keep", "drop"],
    "single_image_class": ["keep", "drop"],
}
"""Problem kind -> what may be decided; the first is in force unless another is chosen."""

FEWEST = {"single_image_class": 2, "rare_class": 50}
"""Images of a class, below which it is of that kind; 50 is the tutorial's advice."""


def load_decisions(cache_dir: Path, url: str) -> dict[str, str]:
    """The decisions taken for the bucket at ``url``; empty if none."""
    return _decided(_tables(_path(cache_dir, url)), url)


def save_decisions(cache_dir: Path, url: str, decisions: Mapping[str, str]) -> dict[str, str]:
    """Add decisions to those taken before, and return them all.

    Raises
    ------
    InputError
        A kind that leaves no choice, or a choice it does not have.
    OutsideError
        They cannot be written.
    """
    check_decisions(decisions)
    path = _path(cache_dir, url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # two that decide at once would each write what they read, and one decision would be lost
        with file_lock(path.with_name(f".{path.name}.lock"), doing="keeps a decision"):
            tables = _tables(path)
            whole = {**_decided(tables, url), **decisions}
            tables[_key(url)] = whole
            FolderStore(path.parent, create=True).write(path.name, _toml(tables).encode())
    except (InputError, OutsideError):
        raise
    except OSError as error:
        raise OutsideError(f"Decisions could not be kept in {path.parent}: {error.strerror or error}.") from error
    return whole


def in_force(description: Mapping, kept: Mapping[str, str] | None = None) -> dict[str, str]:
    """What was decided for a bucket: ``[decisions]`` of its ``visrec.toml``, overlaid by what was kept here.

    Raises
    ------
    InputError
        ``visrec.toml`` decides a kind that leaves no choice, or names a choice it does not have.

    Examples
    --------
    >>> in_force({"decisions": {"duplicate": "drop_extra", "rare_class": "drop"}}, {"rare_class": "keep"})
    {'duplicate': 'drop_extra', 'rare_class': 'keep'}
    """
    said = description.get("decisions", {})
    if not isinstance(said, Mapping):
        raise InputError(f'visrec.toml says decisions = {said!r}; expected a table [decisions] with KIND = "CHOICE".')
    decisions = {kind: str(choice) for kind, choice in said.items()}
    try:
        check_decisions(decisions)
    except InputError as error:
        raise InputError(f"[decisions] in visrec.toml: {error}") from error
    return {**decisions, **(kept or {})}


def check_decisions(decisions: Mapping[str, str]) -> None:
    """Raise a sentence for a kind or a choice that does not exist."""
    for kind, choice in decisions.items():
        if kind not in CHOICES:
            raise InputError(f"'{kind}' leaves nothing to decide. {nearest(kind, CHOICES)}")
        if choice not in CHOICES[kind]:
            raise InputError(f"'{choice}' is no choice for '{kind}'. {nearest(choice, CHOICES[kind])}")


def parse_decisions(words: Iterable[str]) -> dict[str, str]:
    """``KIND=CHOICE`` words of the command line.

    >>> parse_decisions(["duplicate=drop_extra"])
    {'duplicate': 'drop_extra'}
    """
    pairs = [word.partition("=") for word in words]
    for kind, sign, choice in pairs:
        if not sign:
            raise InputError(f"'{kind}{sign}{choice}' is no decision; expected KIND=CHOICE, like duplicate=keep.")
    decisions = {kind.strip(): choice.strip() for kind, _, choice in pairs}
    check_decisions(decisions)
    return decisions


def settle(samples: pd.DataFrame, decisions: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Apply what was decided about duplicates to a prepared sample table.

    Parameters
    ----------
    samples : with ``label``, ``split``, ``sha256`` and ``status``
    decisions : kind -> choice; the default of `CHOICES` where nothing was decided

    Returns
    -------
    samples, notes
        The rows that stay, and one sentence for each thing done, for the lineage of a run.
    """
    chosen = {kind: choices[0] for kind, choices in CHOICES.items()} | dict(decisions or {})
    notes = []

    def drop(rows: pd.Series, why: str) -> None:
        nonlocal samples
        if rows.any():
            notes.append(f"{why}: {int(rows.sum()):,} left out")
            samples = samples[~rows]

    training = samples["split"].isin(["train", "tune"])
    if chosen["duplicate_across_splits"] == "drop_from_train":
        judged = set(samples["sha256"][~training & _hashed(samples)])
        drop(training & samples["sha256"].isin(judged), "training images that are in val or test too")
    if chosen["conflicting_labels"] == "drop":
        drop(conflicting(samples), "images with the same bytes and different labels")
    if chosen["duplicate"] == "drop_extra":
        drop(_hashed(samples) & samples.duplicated(["sha256", "split"]), "copies within a split")
    return samples, notes


def leave_out_rare(samples: pd.DataFrame, decisions: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """Leave out the classes that it was decided to drop for having too few images; rows and one sentence each."""
    notes = []
    for kind, fewest in FEWEST.items():
        counts = samples["label"].map(samples["label"].value_counts())
        rare = counts < fewest
        if decisions.get(kind) == "drop" and rare.any():
            names = ", ".join(sorted(set(samples["label"][rare])))
            notes.append(f"classes of fewer than {fewest} images ({names}): {int(rare.sum()):,} left out")
            samples = samples[~rare]
    if samples["label"].nunique() < 2:
        raise InputError(
            "With the rare classes left out, fewer than two classes remain. Decide `rare_class=keep`, or gather more."
        )
    return samples.reset_index(drop=True), notes


def conflicting(samples: pd.DataFrame) -> pd.Series:
    """Which rows share their bytes with a row of another label."""
    labels = samples[_hashed(samples)].groupby("sha256")["label"].nunique()
    return samples["sha256"].isin(labels.index[labels > 1])


def _hashed(samples: pd.DataFrame) -> pd.Series:
    return samples["sha256"].notna() & (samples["status"] == "ok")


def _path(cache_dir: Path, url: str) -> Path:
    if "://" in url:
        name = url.split("://", 1)[1].strip("/").replace("/", "-")
    else:
        name = Path(url).name
    return Path(cache_dir) / "decisions" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.') or 'bucket'}.toml"


def _key(url: str) -> str:
    """The URL as TOML can hold it: a path that is no UTF-8 has half characters, which no encoding takes."""
    return url.encode("utf-8", "backslashreplace").decode()


def _tables(path: Path) -> dict:
    """What the file holds of every bucket; empty if there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}. Mend it, or delete it to decide anew.") from error


def _decided(tables: Mapping, url: str) -> dict[str, str]:
    return {str(kind): str(choice) for kind, choice in tables.get(_key(url), {}).items()}


def _toml(tables: Mapping[str, Mapping[str, str]]) -> str:
    lines = ["# What was decided about problems in buckets; written by visrec, safe to edit."]
    for url, table in tables.items():
        lines += ["", f"[{_quoted(url)}]", *(f"{_quoted(k)} = {_quoted(v)}" for k, v in sorted(table.items()))]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # JSON's strings are TOML's basic strings, but for surrogate pairs, which TOML forbids, and the bare DEL
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
