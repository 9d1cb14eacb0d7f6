"""The command line. Each command is a file beside this one; what a command needs is imported when it runs.

The exit codes stand in `examples`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dataimportcron.errors import DataImportCronError, PermanentError, TransientError
from worker.cli.text import report

COMMANDS = {
    "up": "run everything on this host: the Temporal server and a worker",
    "worker": "run a worker alone",
    "apply": "create or change objects from YAML files",
    "delete": "delete objects",
    "get": "list objects",
    "describe": "show an object with its conditions and events",
    "poll": "poll a DataImportCron now",
    "suspend": "poll a DataImportCron no more by its schedule",
    "resume": "poll a DataImportCron by its schedule again",
    "migrate": "move DataImportCrons from KubeVirt's CDI to this worker, or back",
    "path": "print the file that a DataSource stands for now",
    "history": "show the imports of a DataImportCron, and its polls that failed",
    "validate": "check YAML files and folders without applying them",
    "next": "show the next ticks of a schedule, or the next polls of a DataImportCron",
    "import": "import one container disk into a file, without Temporal",
    "doctor": "say what is wrong with this installation, and the cure of each",
    "completion": "print what a shell needs to complete commands, options and names",
    "version": "show the version",
}

_EXAMPLES = """examples:
  dataimportcron up &
  dataimportcron apply -f fedora.yaml
  dataimportcron get dic -n golden-images
  dataimportcron poll fedora-image-import-cron -n golden-images --wait
  dataimportcron COMMAND --help
"""


def entry() -> NoReturn:
    """The program: run one command and end at once.

    Temporal's runtime may abort the interpreter while that shuts down (sdk-python#300); all is closed and flushed here.
    """
    if sys.stdout is None:  # closed by the shell's >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- for as long as the process lives
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if "temporalio" in sys.modules:
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["import"]:
        from worker.cli.container_disk import run as import_disk

        return import_disk(arguments[1:])
    return _run(arguments, parser(*arguments[:1]))


def parser(*configured: str) -> argparse.ArgumentParser:
    """The parser; only the commands that are named have their options, for each is a module to load."""
    from worker.cli.examples import epilog, exit_codes

    made = argparse.ArgumentParser(
        prog="dataimportcron",
        description="Keeps golden OS images fresh.",
        epilog=f"{_EXAMPLES}\n{exit_codes()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in configured:
            _module(name).configure(command)
            command.epilog = f"{textwrap.fill(command.epilog or '', 79)}\n\n{epilog(name)}".lstrip()
    return made


def _module(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- a module with `configure` and `run`
    return importlib.import_module(f"worker.cli.{name}")


def _run(argv: Sequence[str], its_parser: argparse.ArgumentParser) -> int:
    """Answer, though the reader of the output may go away, or the output have no room."""
    try:
        try:
            return _answer(argv, its_parser)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return 1
    except OSError as error:
        _drop_output()
        return report(TransientError(f"{error.filename or 'standard output'}: {error.strerror}"))


def _answer(argv: Sequence[str], its_parser: argparse.ArgumentParser) -> int:
    """Run the command; an error is one sentence and a hint."""
    try:
        arguments = its_parser.parse_args(argv)
        return int(_module(arguments.command).run(arguments))
    except DataImportCronError as error:
        return report(error)
    except PermissionError as error:
        words = f"{error.filename} cannot be read or written by this user"
        return report(PermanentError(words, hint="run as the user that `dataimportcron up` runs as"))
    except KeyboardInterrupt:
        return 130


def _drop_output() -> None:
    """Write what is left, or else forget it: at its end the interpreter would try again, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
