"""The command line: parse, call, print.

Every command is a function ``call(args, settings)`` that returns a JSON-able value; this frame prints it, as
exactly one JSON document on standard output with ``--json``, else as the command's ``show`` draws it for people.
Logs and progress go to standard error. Exit codes are those of `visrec.errors`; 130 means interrupted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from visrec import __version__
from visrec.cli.output import print_json
from visrec.errors import VisrecError

PARTS = ("data", "runs", "models", "audit", "explain", "app")


class Parser(argparse.ArgumentParser):
    """argparse, but with a mistake told in one sentence that names the way out."""

    def error(self, message: str):
        self.exit(2, f"visrec: {message}. `{self.prog} --help` lists what it takes.\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; loads none of the heavy libraries."""
    parser = Parser(prog="visrec", description="Train, audit, explain and ship an image classifier.")
    parser.add_argument("--version", action="version", version=f"visrec {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for part in PARTS:
        importlib.import_module(f"visrec.cli.{part}").register(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print exactly one JSON document")
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 done, 1 gate failed, 2 wrong input, 3 outside failed, 4 run failed, 70 a fault of ours, 130 interrupted.
    """
    try:
        args = build_parser().parse_args(argv)
        return _run(args)
    except VisrecError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted.")
        return 130
    except BrokenPipeError:
        # the reader (`| head`) has left; keep the interpreter from complaining on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    except Exception as error:
        if os.environ.get("VISREC_DEBUG"):
            raise
        _say(
            f"a fault of visrec's own: {type(error).__name__}: {error}. "
            "Set VISREC_DEBUG=1 to see where, and please report it."
        )
        return VisrecError.exit_code


def _run(args: argparse.Namespace) -> int:
    from visrec.config import Settings

    result = args.call(args, Settings.load())
    if args.json:
        print_json(result)
    elif show := getattr(args, "show", None):
        show(result)
    return getattr(args, "exit_code", 0)


def _say(message: str) -> None:
    print(f"visrec: {message}", file=sys.stderr)
