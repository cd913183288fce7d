"""The command, called as a user calls it."""

import commanding
import pytest


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys):
    """`run(*arguments)`: exit code, standard output and standard error of the command."""
    command = commanding.command(monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: (command(*arguments), *capsys.readouterr())
