"""Who may import whom: arrows point down, and the heavy libraries stay inside functions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    "errors": set(),
    "connections": {"errors"},
    "config": {"connections", "errors"},
    "storage": {"config", "connections", "errors"},
    "data": {"storage", "config", "errors"},
    "audit": {"errors"},
    "runs": {"storage", "audit", "config", "connections", "errors"},
    "model": {"runs", "data", "audit", "storage", "config", "errors"},
    "explain": {"model", "runs", "data", "audit", "storage", "config", "errors"},
    "cli": {"model", "explain", "runs", "data", "audit", "storage", "config", "errors"},
    "ui": {"model", "explain", "runs", "data", "audit", "storage", "config", "connections", "errors", "cli"},
}
"""Part of visrec -> the parts that it may import, inside functions too."""

HEAVY = {
    "tensorflow", "keras", "aif360", "lime", "art", "boto3", "botocore", "obstore", "openvino", "streamlit", "plotly",
}  # fmt: skip
"""Libraries that no module of visrec may import on being imported itself."""

ONLY_IN = {
    "streamlit": {"ui"},
    "plotly": {"ui"},
    "boto3": {"storage"},
    "botocore": {"storage"},
    "obstore": {"storage"},
    "aif360": {"audit"},
    "lime": {"explain"},
}
"""Libraries that belong to one part alone."""

SOURCES = sorted((ROOT / "visrec").rglob("*.py"))


def imported_modules(tree: ast.AST) -> set[str]:
    """Every dotted name that the tree imports, at any depth."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_on_import(tree: ast.Module) -> set[str]:
    """Only what runs when the module is imported: function bodies and TYPE_CHECKING blocks left out."""

    class Outer(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

        def visit_If(self, node):
            if "TYPE_CHECKING" in ast.dump(node.test):
                return None
            return self.generic_visit(node)

    return imported_modules(Outer().visit(ast.parse(ast.unparse(tree))))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "visrec").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_the_parts_below_it(path):
    """A lower part that knows an upper one cannot be used, tested or shipped without it."""
    part = part_of(path)
    if part in {"__init__", "__main__"}:
        return
    used = {n.split(".")[1] for n in imported_modules(ast.parse(path.read_text())) if n.startswith("visrec.")}
    forbidden = (used & ALLOWED.keys()) - ALLOWED[part] - {part}

    assert set() == forbidden, f"{path.name} of '{part}' imports {sorted(forbidden)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_library_is_known_only_to_the_part_it_belongs_to(path):
    """Only visrec.ui knows Streamlit, only the S3 store knows boto3, and so on."""
    part = part_of(path)
    used = {name.split(".")[0] for name in imported_modules(ast.parse(path.read_text()))}

    assert [] == sorted(lib for lib in used & ONLY_IN.keys() if part not in ONLY_IN[lib])


@pytest.mark.parametrize("path", [p for p in SOURCES if part_of(p) != "ui"], ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path):
    """Importing any module of visrec stays cheap: TensorFlow and AIF360 cost seconds each."""
    used = {name.split(".")[0] for name in imported_on_import(ast.parse(path.read_text()))}

    assert [] == sorted(used & HEAVY)


@pytest.mark.parametrize("statement", ["import visrec", "from visrec.cli import build_parser; build_parser()"])
def test_starting_up_loads_no_heavy_library(statement):
    """What is not loaded costs nothing: `visrec --help` answers in under a second."""
    code = f"import sys; {statement}; print(sorted(set(sys.modules) & {HEAVY | {'pandas', 'sklearn', 'skimage'}!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert "[]" == found.stdout.strip()
