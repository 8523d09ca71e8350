""".dockerignore: secrets, data and leftovers stay out of the build; what the Dockerfile copies gets in."""

import re
from pathlib import Path

import pytest

LET_IN = ("", "visrec/", "visrec/data/", "pages/build/", ".streamlit/", "deploy/image/")
SECRETS = (".env", ".env.local", "prod.env", "secrets.toml", "tls.key", "cert.pem", ".aws/config", "credentials.json")


@pytest.fixture(scope="module")
def kept_out(root):
    """A function: does .dockerignore keep this path out?"""
    rules = parse((root / ".dockerignore").read_text())
    return lambda path: is_kept_out(path, rules)


def parse(text: str) -> list[tuple[re.Pattern, bool]]:
    """Docker's rules (https://docs.docker.com/build/concepts/context/): pattern, and whether it keeps out."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(_pattern(line.removeprefix("!").strip("/")), not line.startswith("!")) for line in lines]


def _pattern(glob: str) -> re.Pattern:
    regex = re.escape(glob).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return re.compile(regex.replace(r"\?", "[^/]"))


def is_kept_out(path: str, rules: list[tuple[re.Pattern, bool]]) -> bool:
    """The last rule that matches the path, or a folder above it, decides; without one it gets in."""
    levels = [path, *(str(p) for p in Path(path).parents if str(p) != ".")]
    verdicts = [out for pattern, out in rules if any(pattern.fullmatch(level) for level in levels)]
    return bool(verdicts) and verdicts[-1]


def test_the_rules_are_read_as_docker_reads_them():
    """The example of Docker's documentation: README*.md comes back, README-secret.md does not."""
    rules = parse("*.md\n!README*.md\nREADME-secret.md\n*/temp*\n**/*.pyc")

    assert [is_kept_out(p, rules) for p in ("a.md", "README.md", "README-secret.md")] == [True, False, True]
    assert [is_kept_out(p, rules) for p in ("a/temp1/b", "temp", "x/y/z.pyc", "z.pyc")] == [True, False, True, True]


@pytest.mark.parametrize("folder", LET_IN)
@pytest.mark.parametrize("name", SECRETS)
def test_secrets_stay_out_wherever_they_lie(kept_out, folder, name):
    """Also in the folders that are let in."""
    assert kept_out(folder + name)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "runs/r/run.json",
        "buckets/b/face.jpg",
        "cache/prepared/x/images.npy",
        "tests/conftest.py",
        "visrec/__pycache__/errors.cpython-311.pyc",
        "visrec.egg-info/PKG-INFO",
        "a-file-of-tomorrow.bin",
    ],
)
def test_data_and_leftovers_stay_out(kept_out, path):
    """None of it belongs in an image; the last is unknown, and therefore out."""
    assert kept_out(path)


def test_everything_that_is_copied_gets_in(kept_out, dockerfile, root):
    """A source kept out would fail the build; one that does not exist as well."""
    sources = [source for name, rest in dockerfile if name == "COPY" for source in rest.split()[:-1]]

    assert sources
    assert [s for s in sources if kept_out(s)] == []
    assert [s for s in sources if not (root / s).exists()] == []


@pytest.mark.parametrize("folder", ["visrec", "pages"])
def test_no_part_of_the_program_is_lost(kept_out, root, folder):
    """No rule against secrets hits a module, a template or a table of ours by accident."""
    files = [p.relative_to(root) for p in (root / folder).rglob("*") if p.is_file()]
    leftovers = {"__pycache__", ".DS_Store", ".ipynb_checkpoints"}

    assert [str(f) for f in files if not leftovers & set(f.parts) and kept_out(str(f))] == []
