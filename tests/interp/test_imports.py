"""Importing is light, every public name resolves, and the built wheel carries what ships."""

import ast
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import import_module
from importlib.util import find_spec
from inspect import ismodule
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("interp", "probes", "patching", "studies", "studies.organisms")
ROOMS = [f"interp.{room}" for room in ("facts", "figures", "models", "report", "stats", "verdict")]
HEAVY = ("torch", "transformers", "transformer_lens", "pandas", "plotly", "sklearn")


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )


def loaded_by(statement: str) -> set[str]:
    done = run("-c", f"{statement}; import sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("package", [*PACKAGES, "studies.cli", "studies.shipped"])
def test_importing_a_package_loads_nothing_heavy(package: str):
    assert not loaded_by(f"import {package}") & set(HEAVY)


def test_the_check_above_sees_a_heavy_import():
    assert "torch" in loaded_by("from interp import Kind, collect")


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_itself_and_the_lazy_loader_only(package: str):
    # What is loaded, not how long it takes: an import of nothing else is quick on every machine.
    assert libraries(f"import {package}") <= {"lazy_loader", "interp", "probes", "patching", "studies"}
    assert {"interp", "torch"} <= libraries("from interp import collect")


def libraries(statement: str) -> set[str]:
    """Top-level modules that a statement loads beyond those of the standard library."""
    loaded = loaded_by(statement) - loaded_by("pass")
    return {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names


def test_help_loads_no_torch():
    code = "import sys; from studies.cli import main; sys.argv = ['interp', '--help']; main()"
    done = run("-X", "importtime", "-c", code)
    assert done.returncode == 0 and "compare" in done.stdout
    assert not any(f"| {name}\n" in done.stderr for name in HEAVY)


@pytest.mark.parametrize("package", [*PACKAGES, *ROOMS])
def test_every_public_name_resolves_to_its_own_home(package: str):
    module = import_module(package)
    names = getattr(module, "__all__", ())
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(module))
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", [*PACKAGES, *ROOMS])
def test_no_submodule_hides_a_public_name(package: str):
    """Importing `package.name` would replace a function of that name in the package."""
    module = import_module(package)
    for name in getattr(module, "__all__", ()):
        if not ismodule(getattr(module, name)):
            assert find_spec(f"{package}.{name}") is None, f"{package}.{name} is a module too"


def test_figures_and_their_tables_are_there_without_being_imported_first():
    done = run("-c", "import interp; print(interp.figures.patch_grid, interp.figures.tables)")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install` would build it, from a copy of the sources."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed: nothing to build the wheel with")
    target = tmp_path_factory.mktemp("wheel")
    source = target / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    for name in ("interp", "probes", "patching", "studies"):
        (source / name).symlink_to(ROOT / name)
    (source / "README.md").touch()
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(target)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return next(target.glob("*.whl"))


def test_the_wheel_declares_its_command_and_registries(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        points = next(n for n in names if n.endswith("entry_points.txt"))
        parser = ConfigParser()
        parser.read_string(archive.read(points).decode())
    assert parser["console_scripts"]["interp"] == "studies.cli:main"
    assert parser["interp.sources"]["shipped"] == "studies.shipped:folders"
    assert parser["interp.facts"]["world"] == "studies.organisms:fact_set"
    assert {"interp/report/templates/report.html.j2", "studies/organisms/facts.csv"} <= set(names)
    assert {f"{package}/py.typed" for package in ("interp", "probes", "patching", "studies")} <= set(
        names
    )
    assert not [n for n in names if "__pycache__" in n or n.startswith("tests")]


def test_an_installed_wheel_loads_a_shipped_organism(wheel: Path, tmp_path: Path):
    """The organism, its tokenizer and the facts come out of the wheel, not out of the sources."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import interp
from interp.models import named, sources
from interp.facts import load_facts
assert interp.__file__.startswith({str(tmp_path)!r}), interp.__file__
folder = named.shipped()["organism-base"]
assert str(folder).startswith({str(tmp_path)!r}), folder
loaded = sources.load("organism-base")
assert len(loaded.tokenizer) > 0 and len(load_facts("world")) > 50
print(sum(p.numel() for p in loaded.model.parameters()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 10_000


@pytest.mark.parametrize("script", sorted(p.stem for p in (ROOT / "benchmarks").glob("[a-z]*.py")))
def test_every_benchmark_finds_what_it_imports(script: str):
    tree = ast.parse((ROOT / "benchmarks" / f"{script}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            (*PACKAGES, "benchmarks")
        ):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{node.module}.{alias.name}")
