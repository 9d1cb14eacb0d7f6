"""Options and look-ups that commands share."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dataimportcron.errors import InvalidObjectError, MissingDependencyError

if TYPE_CHECKING:
    from dataimportcron.host.state.folder import StateFolder
    from worker.temporal import Endpoint

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def state_option(parser: argparse.ArgumentParser) -> None:
    """The option `--state`."""
    parser.add_argument("--state", metavar="DIR", help="state folder (default: $DATAIMPORTCRON_STATE, see `up --help`)")


def context_option(parser: argparse.ArgumentParser) -> None:
    """The option `--context`."""
    parser.add_argument(
        "--context",
        metavar="NAME",
        default=os.environ.get("DATAIMPORTCRON_CONTEXT", ""),
        help="a Kubernetes cluster: a context of the kubeconfig, or in-cluster (default: $DATAIMPORTCRON_CONTEXT)",
    )


def namespace_option(parser: argparse.ArgumentParser) -> None:
    """The option `-n`."""
    parser.add_argument("-n", "--namespace", default="default", help="namespace (default: %(default)s)")


def open_state(arguments: argparse.Namespace) -> StateFolder:
    """The state folder, which must be there.

    Raises:
        StateError: nothing has made one yet, or a newer version has.
        PermissionError: it is another user's.
    """
    from dataimportcron.host.state.folder import StateFolder  # noqa: PLC0415 -- keeps --help quick

    state = StateFolder.find(arguments.state)
    state.require()
    if not os.access(state.status, os.R_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "Permission denied", str(state.status))
    return state


def own_temporal() -> bool:
    """Whether the environment names the user's own Temporal."""
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


def yaml_files(paths: Iterable[str]) -> list[Path]:
    """The files that are named, and those in the folders that are named, at any depth.

    Raises:
        MissingDependencyError: a path is not there, or a folder holds no file of objects.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        inside = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file()) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise MissingDependencyError(f"There is no .yaml, .yml or .json file in {text}")
        if not path.is_dir() and text != "-" and not path.exists():
            raise MissingDependencyError(f"There is no file {text}")
        found += inside or [path]
    return found


def read_documents(path: Path) -> list[dict[str, object]]:
    """The documents of a file; `-` is the standard input.

    Raises:
        InvalidObjectError: it cannot be read, or is no YAML.
    """
    import sys  # noqa: PLC0415 -- used here alone

    from dataimportcron.api.documents import load_documents  # noqa: PLC0415 -- keeps --help quick

    name = "standard input" if str(path) == "-" else str(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return load_documents(data.decode("utf-8-sig"), source=name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidObjectError(f"{name}, line {line}: no UTF-8 text: {error.reason}") from error
    except OSError as error:
        raise InvalidObjectError(f"{name} cannot be read: {error.strerror}") from error
