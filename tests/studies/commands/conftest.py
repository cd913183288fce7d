"""The command, called as a user calls it."""

import sys

import pytest

from studies import cli


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys):
    """`run(*arguments)`: exit code, standard output and standard error of the command.

    However slow a machine is, no minute passes here, so that no line of progress is written.
    """
    monkeypatch.setattr("interp.progress.LINE_SECONDS", float("inf"))
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["interp", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call
