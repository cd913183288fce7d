"""Every public function says what it takes and gives, and its example runs."""

import doctest
import inspect
import re
from importlib import import_module
from typing import Any

import pytest

PACKAGES = ("interp", "interp.figures", "probes", "patching", "patching.circuits", "studies")


def functions() -> dict[str, Any]:
    """Public functions by their full names, aliases left out."""
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and not (value.__doc__ or "").startswith("Alias of"):
                found[f"{package}.{name}"] = value
    return found


FUNCTIONS = functions()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_results_are_documented(name: str):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    sections = set(re.findall(r"(?m)^(Args|Returns|Yields|Raises|Example):", text))
    parameters = [p for p in inspect.signature(function).parameters.values()]
    if parameters:
        assert "Args" in sections
        told = text.split("\nArgs:\n")[1]
        for parameter in parameters:
            assert re.search(rf"(?m)^    \**{parameter.name}:", told), f"{parameter.name} is not told"
    assert sections & {"Returns", "Yields"}
    assert ">>>" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_gives_what_it_shows(name: str):
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert test.examples
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)
