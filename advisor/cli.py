"""The `advisor` command: parses arguments, runs one command, turns expected failures into one line and exit code 2.

A command is a module in `advisor/commands/` with `HELP: str`, `add_arguments(parser)` and `run(arguments) -> int`.
Exit codes: 0 answered, 2 bad input, 3 answered "nothing fits".
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from advisor import __version__
from advisor.catalog.errors import FathomError
from advisor.report.problems import problem_text

__all__ = ["BAD_INPUT", "COMMANDS", "main"]

BAD_INPUT = 2

COMMANDS: dict[str, str] = {
    "recommend": "advisor.commands.recommend",
    "size": "advisor.commands.size",
    "matrix": "advisor.commands.matrix",
    "machine": "advisor.commands.machine",
    "probe": "advisor.commands.probe",
    "validate": "advisor.commands.validate",
    "calibrate": "advisor.commands.calibrate",
    "simulate": "advisor.commands.simulate",
    "report": "advisor.commands.report",
    "catalog": "advisor.commands.catalog",
    "train-size": "advisor.commands.train_size",
}


class _Parser(argparse.ArgumentParser):
    """Reports bad usage as one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    if getattr(arguments, "data", None):
        os.environ["FATHOM_DATA"] = arguments.data
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return int(code)
    except FathomError as problem:
        text = problem_text(problem, getattr(arguments, "lang", None) or "en")
        print(f"advisor {arguments.command}: {text}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Only the module of the command in use is imported, so `advisor size` starts fast."""
    parser = _Parser(prog="advisor", description="Hardware, behaviour and deployment of DeepSeek models.")
    parser.add_argument("--version", action="version", version=f"advisor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    wanted = [word for word in words if word in COMMANDS][:1]
    for name in wanted or COMMANDS:
        module = import_module(COMMANDS[name])
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP)
        sub.add_argument("--data", metavar="FOLDER", help="your own YAML, added to the catalogue (or FATHOM_DATA)")
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser
