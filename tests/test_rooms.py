"""The house: no crowded folder, no circle of imports, tests beside what they test."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("interp", "probes", "patching", "studies")
MOST_MODULES = 16
MOST_LINES = 60


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module."""
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    named = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in named.items()}


MODULES = modules()


def imports(tree: ast.AST, names: Mapping[str, Path]) -> set[str]:
    """Modules of the project that a module imports anywhere, for type checkers too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= whole & set(names) or {node.module}
    return found & set(names)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_folder_holds_more_modules_than_can_be_looked_over():
    folders = [file.parent for file in MODULES.values()]
    crowded = {str(f.relative_to(ROOT)): folders.count(f) for f in folders}
    assert not {name: n for name, n in crowded.items() if n > MOST_MODULES}


def test_no_module_imports_itself_by_way_of_others():
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in MODULES.items()}
    assert circle({name: imports(tree, MODULES) for name, tree in trees.items()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}), "the control: a circle is seen"


def code_lines(function: ast.FunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield f"{name}.{node.name}", node


def test_no_function_passes_one_screen():
    long = {name: code_lines(function) for name, function in functions()}
    assert not {name: n for name, n in long.items() if n > MOST_LINES and not name.endswith(".main")}


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_stand_in_the_folder_of_what_they_test(package: str):
    for folder in {file.parent for file in (ROOT / "tests" / package).rglob("test_*.py")}:
        assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir(), folder
