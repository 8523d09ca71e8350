"""Documentation under test: what is there is documented, and what is documented is there."""

import re
import subprocess
from pathlib import Path

import pytest

from visrec.cli import build_parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(build_parser()._subparsers._group_actions[0].choices)
PAGES = sorted(p for p in (ROOT / "pages").rglob("*.py") if p.name != "__init__.py")


def tracked_files() -> list[Path]:
    """The files that a clone has (and those about to be added); everything, where git is absent."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    """A command that nobody can find does not exist."""
    assert f"`visrec {command}" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_page_is_in_the_readme(page):
    """The table of pages follows the navigation."""
    assert f"`{page.relative_to(ROOT).as_posix()}`" in README


def test_the_readme_names_no_command_that_is_not_there():
    """Documentation of yesterday's command line sends a newcomer astray."""
    named = set(re.findall(r"visrec ([a-z][a-z-]+)", "\n".join(re.findall(r"`([^`\n]+)`", README))))

    assert named <= set(COMMANDS)


def test_every_link_to_a_file_leads_somewhere():
    """A dead link in a README is the first thing a newcomer meets."""
    broken = []
    for page in [p for p in tracked_files() if p.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")

    assert broken == []


def test_no_file_carries_a_path_of_somebodys_machine():
    """A home folder or a workplace in a file is of no use to anybody else."""
    pattern = re.compile(r"(^|[^A-Za-z0-9_.{}$])/(work|farm|root|Users)/")
    found = [
        str(p.relative_to(ROOT))
        for p in tracked_files()
        if p.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".in", ".ipynb", ".json"}
        and any(pattern.search(line) for line in p.read_text(errors="ignore").splitlines())
    ]

    assert found == []
