"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("interp", "probes", "patching", "studies")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Modules whose distribution bears another name.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "tracr": "tracr-pypi", "yaml": "PyYAML"}
#: Needed by another library of the list, for what this project asks of it.
WITHOUT_IMPORT = {"gguf": "transformers reads GGUF files with it"}
#: Of the tests' own: programs, plugins, and what is imported by name.
TOOLS = {"beartype", "build", "ipykernel", "kaleido", "pytest-xdist"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {canonical(name[0]) for name in names if name is not None} - {"interp"}


def imported(*folders: str) -> set[str]:
    """Distributions of every module imported anywhere in the folders, also inside functions."""
    found: set[str] = set()
    local = {file.stem for file in (ROOT / "tests").rglob("*.py")}
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    found -= set(sys.stdlib_module_names) | set(OURS) | {"benchmarks", "tests"} | local
    return {canonical(DISTRIBUTIONS.get(name, name)) for name in found}


def test_everything_imported_is_declared():
    compiling = PROJECT["optional-dependencies"]["tracr"]  # known circuits are shipped as weights
    assert imported(*OURS) - declared([*PROJECT["dependencies"], *compiling]) == set()


def test_everything_declared_is_imported_or_has_its_reason():
    assert declared(PROJECT["dependencies"]) - imported(*OURS) == set(WITHOUT_IMPORT)


def test_everything_the_tests_import_is_declared_for_them():
    extras = PROJECT["optional-dependencies"]
    extra, clusters = declared(extras["test"]), declared([*extras["ray"], *extras["slurm"]])
    known = declared(PROJECT["dependencies"]) | extra | clusters
    assert imported("tests", "notebooks") - known == set()
    assert extra - imported("tests", "notebooks") == TOOLS


def test_the_pinned_versions_hold_every_declared_one():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = declared([line for line in lines if not line.startswith("#")])
    extra = PROJECT["optional-dependencies"]
    wanted = declared([*PROJECT["dependencies"], *extra["test"], *extra["dev"]])
    assert wanted - pinned == set()


@pytest.mark.parametrize("line", ["import rich", "from einops import rearrange"])
def test_the_check_sees_an_import(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "interp").mkdir()
    (tmp_path / "interp" / "new.py").write_text(f"def late():\n    {line}\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert imported("interp") == {line.split()[1]}
