"""Lineage: from what, by what and on what a run was made, so that a figure can be traced and made again."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visrec import __version__
from visrec.errors import InputError
from visrec.model.engine import backend
from visrec.runs import process

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("keras", "tensorflow", "jax", "openvino", "numpy", "pandas", "scipy", "Pillow")


def describe(*, data: str, samples: "pd.DataFrame", seed: int, device: str, engine: str, cores: int) -> dict[str, Any]:
    """The lineage of a run: data fingerprint, code, package versions, seed, host, device, engine, threads."""
    return {
        "data_fingerprint": fingerprint(data, samples),
        "code": code(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "seed": seed,
        "host": process.host(),
        "platform": platform.platform(),
        "device": device,
        "engine": engine,
        "backend": backend(),
        "cores": cores,
    }


def fingerprint(data: str, samples: "pd.DataFrame") -> str:
    """A name for pixels and labels together: it changes when an image, a label or a split does."""
    columns = samples[["file", "label", "split"]].sort_values("file")
    text = columns.to_csv(index=False).encode("utf-8", "surrogatepass")
    return hashlib.sha256(data.encode() + b"\n" + text).hexdigest()[:24]


def splits(samples: "pd.DataFrame") -> str:
    """A name for what is learnt and what is judged, known before any pixel is read: file, label and split of each row.

    >>> import pandas as pd
    >>> one, other = (pd.DataFrame({"file": ["a"], "label": ["x"], "split": [s]}) for s in ("train", "val"))
    >>> splits(one) == splits(one), splits(one) == splits(other)
    (True, False)
    """
    return fingerprint("", samples)


def require_same(record: Mapping[str, Any], **found: str) -> None:
    """Refuse to go on with a run on other data than it began with.

    An image that was trained on may be among those that are judged now, and the figure would flatter the model.

    Parameters
    ----------
    record : of the run; one whose data were never read has nothing to compare
    found : ``data_fingerprint`` or ``splits`` of now

    Raises
    ------
    InputError
        When they are others.
    """
    kept = record.get("lineage") or {}
    if any(kept.get(name) not in (None, value) for name, value in found.items()):
        raise InputError(
            "The bucket changed since this run began (other images, labels or splits), so that images it has learnt "
            "from may now be among those it is judged by. Start a new run with the same settings."
        )


def code() -> str:
    """The version, and the commit when run from a clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return __version__
    asked = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    return f"{__version__}+{asked.stdout.strip()}" if asked.returncode == 0 else __version__


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
