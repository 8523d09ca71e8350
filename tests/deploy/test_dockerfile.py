"""The Dockerfile: linted, without secrets, not as root, with code in the last layers and a GPU by build argument."""

import json
import re
import shlex
import subprocess
import tomllib
from importlib.metadata import requires

import pytest
import yaml
from packaging.requirements import Requirement

SECRET_NAME = re.compile(r"SECRET(?!S_FILES)|PASSWORD|TOKEN|ACCESS_KEY|CREDENTIAL|API_?KEY", re.IGNORECASE)
SECRET_VALUE = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN|://[^/\s:@]+:[^/\s@]+@|[A-Za-z0-9+/]{40,}={0,2}(?![\w/.-])")


def test_hadolint_finds_nothing(hadolint, root):
    """No finding of any level, and none switched off in the file."""
    done = subprocess.run([hadolint, str(root / "Dockerfile")], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint ignore" not in (root / "Dockerfile").read_text()


def test_base_image_can_be_chosen(dockerfile):
    """A mirror or a company's own Python image takes the place of the public one."""
    assert dockerfile[:2] == [("ARG", "BASE_IMAGE=python:3.11-slim"), ("FROM", "${BASE_IMAGE}")]


def test_last_user_is_a_number_and_not_root(dockerfile):
    """Kubernetes checks runAsNonRoot against a number only."""
    user = [rest for name, rest in dockerfile if name == "USER"][-1]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_health_is_asked_with_python(dockerfile, root):
    """A slim image has no curl; the script named is one that is copied into the image."""
    (check,) = [rest for name, rest in dockerfile if name == "HEALTHCHECK"]
    command = json.loads(check.partition("CMD ")[2])

    assert command[0] == "python"
    script = command[1].removeprefix("/app/")
    assert ("COPY", f"{script} {script}") in dockerfile
    assert (root / script).is_file()


def test_requirements_come_before_the_code(dockerfile):
    """A change of code must not install TensorFlow anew."""
    steps = [f"{name} {rest}" for name, rest in dockerfile]
    install = next(i for i, step in enumerate(steps) if "--requirement /tmp/requirements.txt" in step)
    code = next(i for i, step in enumerate(steps) if step.startswith("COPY") and "visrec visrec" in step)

    assert install < code
    assert not any(step.startswith("COPY . ") for step in steps)


def test_every_requirement_of_the_image_is_pinned(root):
    """The same Dockerfile must give the same image next year; this holds for the CUDA wheels too."""
    for path in (root / "requirements.txt", root / "deploy/image/requirements-gpu.txt"):
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
        assert all(re.match(r"[\w.\-\[\]]+==\S+", line) for line in lines if line), path.name


def test_gpu_pins_cover_what_this_tensorflow_asks_for(root):
    """Every library of tensorflow[and-cuda] has a pin, and the pin lies in the range that TensorFlow allows."""
    lines = (root / "deploy/image/requirements-gpu.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    asked = [Requirement(r) for r in requires("tensorflow")]
    asked = {r.name: r.specifier for r in asked if r.marker and "and-cuda" in str(r.marker)}

    assert set(asked) <= set(pins)
    assert all(pins[name] in allowed for name, allowed in asked.items())


def test_gpu_is_a_build_argument(dockerfile):
    """Plain TensorFlow unless asked otherwise, and the argument is really installed."""
    assert ("ARG", "TENSORFLOW=tensorflow") in dockerfile
    assert any(name == "RUN" and "pip install" in rest and '"${TENSORFLOW}"' in rest for name, rest in dockerfile)


def test_server_in_the_image_neither_watches_files_nor_reports_usage(image_env):
    """Nothing changes in an image, and nothing leaves it unasked (the welcome message looks up the public address)."""
    assert image_env["STREAMLIT_SERVER_FILE_WATCHER_TYPE"] == "none"
    assert image_env["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert image_env["STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE"] == "true"


def test_memory_of_a_shared_gpu_is_taken_as_needed(image_env):
    """Dashboard and training are two processes on one card; the first must not take it all."""
    assert image_env["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_start_is_the_command_line(dockerfile):
    """`docker run IMAGE` serves the dashboard, `docker run IMAGE train ...` trains."""
    last = dict(dockerfile)

    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", "visrec"]
    assert json.loads(last["CMD"]) == ["app"]


def test_no_secret_can_enter_by_the_dockerfile(dockerfile):
    """ARG and ENV stay readable in an image's history, so neither may carry one."""
    names = [pair.split("=")[0] for name, rest in dockerfile if name in ("ARG", "ENV") for pair in shlex.split(rest)]

    assert [name for name in names if SECRET_NAME.search(name)] == []


def test_no_file_of_the_deployment_holds_a_secret(root):
    """Not a Secret object, not a literal under a secret's name, nothing that looks like a key."""
    files = [root / "Dockerfile", root / ".dockerignore", root / "docs/deploy.md"]
    files += [
        path for path in sorted((root / "deploy").rglob("*")) if path.is_file() and "__pycache__" not in path.parts
    ]
    for path in files:
        text = path.read_text()
        assert not SECRET_VALUE.search(text), path
        if path.suffix == ".yaml":
            for one in filter(None, yaml.safe_load_all(text)):
                assert one["kind"] != "Secret", path
                assert [e["name"] for e in _literals(one) if SECRET_NAME.search(e["name"])] == [], path


def _literals(node) -> list[dict]:
    """Every ``{name: ..., value: ...}`` anywhere below ``node``."""
    if isinstance(node, list):
        return [found for item in node for found in _literals(item)]
    if not isinstance(node, dict):
        return []
    own = [node] if {"name", "value"} <= set(node) else []
    return own + [found for item in node.values() for found in _literals(item)]


@pytest.mark.parametrize("literal", ["AKIA" + "A" * 16, "-----" + "BEGIN PRIVATE KEY", "https://me:" + "pass@host/x"])
def test_the_search_for_secrets_finds_one(literal):
    """The check above means something."""
    assert SECRET_VALUE.search(f"key: {literal}\n")


def test_one_version_everywhere(root):
    """The manifests and the guide name the image of this version, not of the one before."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    files = [root / "Dockerfile", root / "docs/deploy.md", *(root / "deploy").rglob("*.yaml")]
    named = [t for f in files for t in re.findall(r"(?:\bvisrec:|newTag: )(\d[\w.]*)", f.read_text())]

    assert set(named) == {version}
