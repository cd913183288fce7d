"""Former names of functions and arguments."""

import inspect
import sys
from importlib import import_module

import pytest

from interp._aliases import alias, formerly
from interp._doors import checked
from interp._moved import MOVED


def area(width: float, *, height: float = 1.0) -> float:
    """Width times height."""
    return width * height


def test_an_alias_does_the_same_and_says_whose_alias_it_is():
    surface = alias(area, "surface")
    assert surface(3.0, height=2.0) == area(3.0, height=2.0)
    assert surface.__name__ == "surface" and surface.__doc__.startswith("Alias of `area`.")
    assert area.__name__ == "area", "the function keeps its own name"


def test_an_argument_is_taken_under_its_former_name_too():
    renamed = formerly(tall="height")(area)
    assert renamed(3.0, tall=2.0) == renamed(3.0, height=2.0) == 6.0


def test_former_names_pass_the_checks_of_public_functions_too():
    public = checked(alias(formerly(tall="height")(area), "surface"))
    assert public(3.0, tall=2.0) == public(3.0, height=2.0) == 6.0
    assert list(inspect.signature(public).parameters) == ["width", "height"]
    with pytest.raises(ValueError, match="surface: height got str 'x'"):
        public(3.0, tall="x")
    with pytest.raises(TypeError, match="former name"):
        public(3.0, tall=2.0, height=2.0)
    with pytest.raises(TypeError):  # the control
        public(3.0, long=2.0)


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="tall is the former name of height"):
        formerly(tall="height")(area)(3.0, tall=2.0, height=2.0)


@pytest.mark.parametrize("package", MOVED)
def test_every_former_module_is_found_where_its_successors_are(package: str):
    for name, homes in MOVED[package].items():
        with pytest.warns(DeprecationWarning, match=f"{package}.{name} has moved to"):
            sys.modules.pop(f"{package}.{name}", None)
            former = import_module(f"{package}.{name}")
        for home in homes.split():
            module = import_module(f"{package}.{home}")
            public = [
                n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
            ]
            assert all(getattr(former, n) is not None for n in public)


def test_a_module_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("interp.no_such_module")
    with pytest.raises(AttributeError, match="no_such_name"), pytest.warns(DeprecationWarning):
        sys.modules.pop("interp.tasks", None)
        _ = import_module("interp.tasks").no_such_name
