"""`dataimportcron completion`: the script that a shell loads, and the words that it then asks for.

The scripts know nothing but how to ask: what may stand next is said by this program, from its own parser and from the
objects that are there.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from dataimportcron.errors import DataImportCronError
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import read_records
from worker.cli.kinds import SHORT, kind_named

_BASH = """\
_dataimportcron() {
    local IFS=$'\\n'
    COMPREPLY=($(dataimportcron completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _dataimportcron dataimportcron
"""
_ZSH = """\
#compdef dataimportcron
_dataimportcron() {
    local -a found
    found=(${(f)"$(dataimportcron completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -Q -- "${found[@]}"; else _files; fi
}
compdef _dataimportcron dataimportcron
"""
_FISH = """\
function __dataimportcron_words
    dataimportcron completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c dataimportcron -a '(__dataimportcron_words)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_NAMES_OF = {
    "poll": "DataImportCron",
    "suspend": "DataImportCron",
    "resume": "DataImportCron",
    "history": "DataImportCron",
    "next": "DataImportCron",
    "path": "DataSource",
}
"""Commands whose arguments are names of one kind."""
_KIND_FIRST = frozenset({"get", "describe", "delete"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=[*_SCRIPTS, "words"], help="`words` is what the scripts call")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Print the script, or the words that may stand where the last one does."""
    if arguments.shell in _SCRIPTS:
        print(_SCRIPTS[arguments.shell], end="")
        return 0
    words = arguments.words or [""]
    for found in sorted({word for word in _candidates(words[:-1], words[-1]) if word.startswith(words[-1])}):
        print(found)
    return 0


def _candidates(before: Sequence[str], current: str) -> Iterator[str]:
    from worker.cli import COMMANDS  # noqa: PLC0415 -- it imports this module when it runs it

    if not before:
        yield from [*COMMANDS, "--help"]
        return
    command, *given = before
    if command not in COMMANDS or command == "import":  # that has a parser of its own, and its arguments are files
        return
    parser = argparse.ArgumentParser(prog=command)
    importlib.import_module(f"worker.cli.{command}").configure(parser)
    options = _options(parser)
    last = options.get(given[-1]) if given else None
    if last is not None and last.nargs != 0:
        if last.dest == "namespace":
            yield from _namespaces(_state(given))
        yield from map(str, last.choices or ())
    elif current.startswith("-"):
        yield from options
    else:
        yield from _positional(command, parser, list(_without_options(given, options)), given)


def _positional(command: str, parser: argparse.ArgumentParser, words: list[str], given: Sequence[str]) -> Iterator[str]:
    state, namespace = _state(given), _value(given, "-n", "--namespace") or "default"
    if command in _NAMES_OF:
        yield from _names(state, _NAMES_OF[command], namespace)
    elif command in _KIND_FIRST and not words:
        yield from ["all", *SHORT.values(), *map(str.lower, SHORT)]
    elif command in _KIND_FIRST:
        try:
            yield from _names(state, kind_named(words[0]), namespace)
        except DataImportCronError:
            return
    else:
        choices = [action.choices for action in _actions(parser) if not action.option_strings and action.choices]
        yield from (str(choice) for known in choices for choice in known if choice != "words")


def _names(state: StateFolder, kind: str, namespace: str) -> list[str]:
    return [record.name for record in read_records(state.status, kind, namespace)]


def _namespaces(state: StateFolder) -> list[str]:
    return [folder.name for folder in state.status.glob("*/*") if folder.is_dir()]


def _state(given: Sequence[str]) -> StateFolder:
    return StateFolder.find(_value(given, "--state"))


def _value(given: Sequence[str], *names: str) -> str:
    """The value that an option has been given already."""
    return next((value for name, value in pairwise(given) if name in names), "")


def _without_options(given: Sequence[str], options: dict[str, argparse.Action]) -> Iterator[str]:
    takes = False
    for word in given:
        if takes or word.startswith("-"):
            takes = word in options and options[word].nargs != 0
        else:
            yield word


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {name: action for action in _actions(parser) for name in action.option_strings}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 -- argparse has no other list of what it knows
