"""Options and look-ups that commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataimportcron.errors import InvalidObjectError, MissingDependencyError

if TYPE_CHECKING:
    from dataimportcron.api.types import Resource
    from dataimportcron.host.state import StateFolder
    from worker.temporal import Endpoint

ALIASES = {
    "dataimportcron": "DataImportCron",
    "dataimportcrons": "DataImportCron",
    "dic": "DataImportCron",
    "dics": "DataImportCron",
    "datasource": "DataSource",
    "datasources": "DataSource",
    "das": "DataSource",
    "datavolume": "DataVolume",
    "datavolumes": "DataVolume",
    "dv": "DataVolume",
    "dvs": "DataVolume",
    "configmap": "ConfigMap",
    "configmaps": "ConfigMap",
    "cm": "ConfigMap",
    "secret": "Secret",
    "secrets": "Secret",
}


def state_option(parser: argparse.ArgumentParser) -> None:
    """The option `--state`."""
    parser.add_argument("--state", metavar="DIR", help="state folder (default: $DATAIMPORTCRON_STATE, see `up --help`)")


def namespace_option(parser: argparse.ArgumentParser) -> None:
    """The option `-n`."""
    parser.add_argument("-n", "--namespace", default="default", help="namespace (default: %(default)s)")


def open_state(arguments: argparse.Namespace) -> StateFolder:
    """The state folder, which must be there.

    Raises:
        MissingDependencyError: nothing has made one yet.
    """
    from dataimportcron.host.state import StateFolder  # noqa: PLC0415 -- keeps --help quick

    state = StateFolder.find(arguments.state)
    if not (state.path / "VERSION").exists():
        raise MissingDependencyError(
            f"There is no state folder at {state.path}",
            hint="start `dataimportcron up` first, or name another folder with --state or DATAIMPORTCRON_STATE",
        )
    state.check()
    return state


def kind_of(text: str) -> type[Resource]:
    """The kind that a word such as `dic` or `datasource` names.

    Raises:
        InvalidObjectError: none.
    """
    from dataimportcron.api.types import KINDS  # noqa: PLC0415 -- keeps --help quick

    name = ALIASES.get(text.lower().partition(".")[0])
    if name is None:
        raise InvalidObjectError(f"There is no kind {text!r}", hint=f"kinds are {', '.join(KINDS)}")
    return KINDS[name]


def target_of(words: Sequence[str]) -> tuple[str, str]:
    """Kind and name from `KIND NAME` or `KIND/NAME`."""
    if len(words) == 1 and "/" in words[0]:
        kind, _, name = words[0].partition("/")
        return kind, name
    if len(words) == 2:  # noqa: PLR2004 -- kind and name
        return words[0], words[1]
    raise InvalidObjectError(f"Expected KIND NAME or KIND/NAME, found {' '.join(words)!r}")


def own_temporal() -> bool:
    """Whether the environment names the user's own Temporal."""
    import os  # noqa: PLC0415 -- used here alone

    return any(os.environ.get(name) for name in ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"))


def endpoint_for(state: StateFolder) -> Endpoint:
    """Where Temporal is: the user's own (TEMPORAL_ADDRESS or a profile), else the embedded server of the folder.

    Raises:
        MissingDependencyError: neither is known.
    """
    from dataimportcron.host.dev_server import endpoint_of  # noqa: PLC0415 -- keeps --help quick
    from worker.temporal import Endpoint  # noqa: PLC0415 -- temporalio takes a second to import

    if own_temporal():
        return Endpoint(profile=True)
    embedded = endpoint_of(state)
    if embedded is None:
        raise MissingDependencyError(
            f"State folder {state.path} knows no Temporal server",
            hint="start `dataimportcron up`, or set TEMPORAL_ADDRESS to your own",
        )
    return Endpoint(address=embedded.address)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as aligned columns, as kubectl prints them."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return "\n".join("   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def tidy(document: dict[str, Any]) -> dict[str, Any]:
    """The document without empty labels and annotations."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if value not in ({}, [])}
    return document | {"metadata": metadata}


def yaml_files(paths: Iterable[str]) -> list[Path]:
    """The files that are named, and those in the folders that are named."""
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in {".yaml", ".yml"})
        elif path.exists() or text == "-":
            found.append(path)
        else:
            raise MissingDependencyError(f"There is no file {text}")
    return found


def read_documents(path: Path) -> list[dict[str, object]]:
    """The documents of a file; `-` is the standard input."""
    import sys  # noqa: PLC0415 -- used here alone

    from dataimportcron.api.documents import load_documents  # noqa: PLC0415 -- keeps --help quick

    text = sys.stdin.read() if str(path) == "-" else path.read_text()
    return load_documents(text, source=str(path))
