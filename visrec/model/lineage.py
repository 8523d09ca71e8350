"""Lineage: from what, by what and on what a run was made, so that a figure can be traced and made again."""

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visrec import __version__
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
