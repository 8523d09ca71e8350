"""Tests for the command line's frame: exit codes, one JSON document, sentences instead of tracebacks."""

import json

import pytest

from visrec import cli
from visrec.errors import AccessError, GateError, InputError, RunError


def raising(error):
    def call(args, settings):
        raise error

    return call


@pytest.fixture
def run_with(monkeypatch):
    """Run the frame with one command that calls the given function."""

    def run(call, *argv):
        def build():
            parser = cli.Parser(prog="visrec")
            commands = parser.add_subparsers(dest="command", required=True, parser_class=cli.Parser)
            command = commands.add_parser("go")
            command.add_argument("--json", action="store_true")
            command.set_defaults(call=call)
            return parser

        monkeypatch.setattr(cli, "build_parser", build)
        return cli.run(["go", *argv])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GateError("x"), 1),
        (InputError("x"), 2),
        (AccessError("x"), 3),
        (RunError("x"), 4),
        (KeyError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(run_with, capsys, error, code):
    """Scripts decide by the code; people read the sentence, never a traceback."""
    assert code == run_with(raising(error))

    printed = capsys.readouterr()
    assert "" == printed.out
    assert printed.err.startswith("visrec: ")
    assert "Traceback" not in printed.err


def test_json_is_exactly_one_document_with_null_for_unknown(run_with, capsys):
    """NaN is not JSON; an unknown rate is null."""
    assert 0 == run_with(lambda args, settings: {"rate": float("nan"), "n": 0}, "--json")

    assert {"rate": None, "n": 0} == json.loads(capsys.readouterr().out)


def test_an_unknown_option_is_one_sentence_and_exit_code_2(run_with, capsys):
    """argparse's usage dump hides the point."""
    assert 2 == run_with(lambda args, settings: {}, "--nonsense")
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(cli.build_parser()._subparsers._group_actions[0].choices))
def test_every_command_explains_itself_and_takes_json(command, capsys):
    """`--help` of each command works and each can answer a program."""
    assert 0 == cli.run([command, "--help"])
    assert "--json" in capsys.readouterr().out
