"""The command line. Each command is a file beside this one; what a command needs is imported when it runs.

Exit codes: 0 done, 1 failed and may work later, 2 wrong input or something that must be changed first, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

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
    "path": "print the file that a DataSource stands for now",
    "history": "show the imports of a DataImportCron",
    "validate": "check YAML files without applying them",
    "next": "show the next ticks of a schedule",
    "import": "import one container disk into a file, without Temporal",
    "version": "show the version",
}

_EXAMPLES = """examples:
  dataimportcron up &
  dataimportcron apply -f fedora.yaml
  dataimportcron get dataimportcron -n golden-images
  dataimportcron poll fedora-image-import-cron -n golden-images
"""


def entry() -> NoReturn:
    """The program: run one command and end at once.

    Temporal's runtime may abort the interpreter while that shuts down (sdk-python#300); all is closed and flushed here.
    """
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
        from dataimportcron.importer.__main__ import main as import_main

        return import_main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="dataimportcron",
        description="Keeps golden OS images fresh.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == chosen and name != "import":
            _module(name).configure(command)
    return _run(parser.parse_args(arguments))


def _module(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- a module with `configure` and `run`
    return importlib.import_module(f"worker.cli.{name}")


def _run(arguments: argparse.Namespace) -> int:
    """Run the command; an error is one line and a hint."""
    from dataimportcron.errors import DataImportCronError, InvalidObjectError

    try:
        return int(_module(arguments.command).run(arguments))
    except InvalidObjectError as error:
        for line in error.faults or (error.message,):
            print(f"error: {line}", file=sys.stderr)
        _hint(error)
        return 2
    except DataImportCronError as error:
        print(f"error: {error.message}", file=sys.stderr)
        _hint(error)
        return 2 if error.permanent else 1
    except BrokenPipeError:
        # The reader of our output has gone; nothing more can be said, not even by the interpreter at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _hint(error: Exception) -> None:
    hint = getattr(error, "hint", "")
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
