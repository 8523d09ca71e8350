"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data for measuring; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("VISREC_SHARED", ROOT.parent / "shared"))
    if not (folder / "predictions").is_dir():
        pytest.skip("the shared real data is not on this machine")
    return folder
