"""Former names of functions and arguments."""

import sys
from importlib import import_module

import pytest

from interp._aliases import alias, formerly
from interp._doors import checked


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


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="tall is the former name of height"):
        formerly(tall="height")(area)(3.0, tall=2.0, height=2.0)


def test_a_former_argument_passes_the_doors_of_a_package():
    renamed = checked(formerly(tall="height")(area))
    assert renamed(3.0, tall=2.0) == renamed(3.0, height=2.0) == 6.0
    with pytest.raises(TypeError, match="unexpected keyword argument 'long'"):
        renamed(3.0, long=2.0)
    with pytest.raises(ValueError, match="height got str 'two'"):
        renamed(3.0, tall="two")
