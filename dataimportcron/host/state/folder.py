"""The state folder: where it is, what is in it, and who this host is.

VERSION            layout of the folder; a newer one is refused
identity.json      site and machine uid, drawn once
settings.toml      optional, the administrator's
endpoint.json      ports of the embedded Temporal server
temporal.db        its database
objects/           <kind>/<namespace>/<name>.yaml, as applied
status/            <kind>/<namespace>/<name>.json, what we know of them
deleted/           <uid>.json, objects whose end is not done yet
certs.d/           mirrors, as containerd's hosts.toml
volumes/           the default storage folder, where libvirt's own is not ours
run/               private files of running imports, locks
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import tomllib
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from dataimportcron.errors import InvalidObjectError, PermanentError
from dataimportcron.host.files import locked, write_atomically

LAYOUT = 2
"""Version of the folder's layout: 2 has records of objects in manifest folders, which version 1 knows nothing of."""

MANIFESTS = Path("/etc/dataimportcron.d")
"""The manifest folder of the machine's own state folder."""
_MACHINES = Path("/var/lib/dataimportcron")

_SITE = re.compile(r"[^a-z0-9-]+")


class StateError(PermanentError):
    """The state folder cannot be used."""

    reason = "StateFolder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`settings.toml`, every key optional.

    Attributes:
        storage_classes: folder of each storage class by name; what is not listed is in the default folder.
        default_folder: folder of the default storage class; "" means libvirt's /var/lib/libvirt/images where that can
            be written and no other state folder has it, else `volumes` in the state folder.
        overlay_folders: where else users keep disks that may be overlays on our volumes, beside the storage folders and
            those of libvirt's folders, for the machine and for the user, that can be read.
        architecture: of container disks without `platform`; "" means this machine's.
        certs_dirs: more folders of containerd's hosts.toml files, beside `certs.d` in the state folder.
        insecure_registries: hosts (with port) that may be asked without TLS verification or by plain http.
        registry_auth_file: with the credentials for sources without a Secret, as docker or podman login writes it; ""
            means the files of the user that the worker runs as, /dev/null that there are none.
        concurrent_lookups: how many lookups are made at a time at one registry.
        lookup_rate: how many lookups are begun per second at one registry; 0 for no limit.
        concurrent_imports: how many imports and clones run at a time.
        poll_jitter: seconds over which the polls of crons with one schedule are spread, and for which those of the same
            image share one lookup; 0 for none.
        import_rate: bytes per second that one import downloads at most; 0 for no limit.
        manifest_folders: whose YAML files hold objects too, which are read and never written; where the key is not
            given, /etc/dataimportcron.d for the state folder /var/lib/dataimportcron, and none for others.
    """

    storage_classes: dict[str, str] = field(default_factory=dict)
    default_folder: str = ""
    overlay_folders: tuple[str, ...] = ()
    architecture: str = ""
    certs_dirs: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_auth_file: str = ""
    concurrent_lookups: int = 4
    lookup_rate: int = 0
    concurrent_imports: int = 4
    import_rate: int = 0
    poll_jitter: int = 10
    manifest_folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this host is in a Temporal namespace that others may share."""

    site: str
    machine: str


class StateFolder:
    """One host's state. Constructing it creates nothing; `prepare` does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, given: str | None) -> StateFolder:
        """The folder that is meant: the option, DATAIMPORTCRON_STATE, or the place that suits the user."""
        chosen = given or os.environ.get("DATAIMPORTCRON_STATE")
        if chosen:
            return cls(Path(chosen).absolute())
        if os.geteuid() == 0:
            return cls(_MACHINES)
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return cls(Path(base) / "dataimportcron")

    def prepare(self) -> None:
        """Create what is missing, private, because Secrets are in it; make an older version's folder one of ours.

        Raises:
            StateError: the folder cannot be written, or a newer version has written it.
        """
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in ("objects", "status", "deleted", "run"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
            with locked(self.path / "run" / "layout.lock"):
                # Whoever had the lock before may have been of a newer version.
                if self.check() != LAYOUT:
                    self._upgrade()
        except OSError as error:
            raise StateError(
                f"State folder {self.path} cannot be made or written: {error.strerror or error}",
                hint="choose another with --state or DATAIMPORTCRON_STATE",
            ) from error

    def _upgrade(self) -> None:
        """Bring the folder to LAYOUT, step by step; the caller holds the lock.

        A step may be repeated after a crash in it, and its version is written last. Layout 2 only adds fields, with
        defaults, so that its version is all there is to write.
        """
        write_atomically(self.path / "VERSION", f"{LAYOUT}\n".encode())

    def check(self) -> int:
        """Refuse a folder that a newer version has written; returns its layout, 0 for one that is not made yet.

        Raises:
            StateError: it has.
        """
        try:
            text = (self.path / "VERSION").read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except (OSError, UnicodeDecodeError) as error:
            hint = "run as the user that `dataimportcron up` runs as"
            raise StateError(f"State folder {self.path} cannot be read: {error}", hint=hint) from error
        if not (text.isascii() and text.isdecimal()) or int(text) > LAYOUT:
            raise StateError(
                f"State folder {self.path} has layout {text!r}, this version knows {LAYOUT}",
                hint="run the version that wrote it, or a newer one",
            )
        return int(text)

    def require(self) -> None:
        """Refuse a folder that nothing has made yet, or that a newer version has written.

        Raises:
            StateError: it is one.
        """
        if not self.check():
            raise StateError(
                f"There is no state folder at {self.path}",
                hint="start `dataimportcron up`, or name another with --state or DATAIMPORTCRON_STATE",
            )

    def identity(self) -> Identity:
        """Site and machine uid, drawn at the first call and kept for ever."""
        path = self.path / "identity.json"
        with locked(self.path / "run" / "identity.lock"):
            if not path.exists():
                host = _SITE.sub("-", socket.gethostname().lower()).strip("-")[:40] or "host"
                drawn = {"site": f"{host}-{secrets.token_hex(3)}", "machine": str(uuid4())}
                write_atomically(path, json.dumps(drawn, indent=1).encode())
            return Identity(**json.loads(path.read_bytes()))

    def settings(self) -> Settings:
        """The administrator's settings.

        Raises:
            InvalidObjectError: the file is no TOML, or has a key or a type that is not ours.
        """
        path = self.path / "settings.toml"
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError as error:
            raise InvalidObjectError(f"{path}: {error}") from error
        return _settings(path, text)

    @property
    def objects(self) -> Path:
        """Folder of the objects as applied."""
        return self.path / "objects"

    @property
    def status(self) -> Path:
        """Folder of the records."""
        return self.path / "status"

    @property
    def deleted(self) -> Path:
        """Folder of the deletions that are not done yet."""
        return self.path / "deleted"

    @property
    def run(self) -> Path:
        """Folder of locks and of the private files of running imports."""
        return self.path / "run"

    def manifest_folders(self) -> tuple[Path, ...]:
        """Folders whose files hold objects that are not ours to write.

        Raises:
            InvalidObjectError: the settings are no good.
        """
        return tuple(Path(folder) for folder in self.settings().manifest_folders)

    def certs_dirs(self, settings: Settings) -> tuple[Path, ...]:
        """Folders with a mirror configuration, the state folder's first where there is one."""
        own = self.path / "certs.d"
        return (*([own] if own.is_dir() else []), *(Path(folder) for folder in settings.certs_dirs))


@lru_cache(maxsize=16)
def _settings(path: Path, text: str) -> Settings:
    """The settings in the file's text; they are asked for often and change hardly ever."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidObjectError(f"{path}: {error}") from error
    if path.parent == _MACHINES:
        given = {"manifest_folders": [str(MANIFESTS)]} | given
    known = {item.name: getattr(Settings(), item.name) for item in fields(Settings)}
    for key, value in given.items():
        if key not in known:
            raise InvalidObjectError(f"{path}: unknown key {key!r}", hint=f"known are {', '.join(known)}")
        expected = list if isinstance(known[key], tuple) else type(known[key])
        if type(value) is not expected:
            raise InvalidObjectError(f"{path}: {key} must be a {expected.__name__}, found {value!r}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return _checked(Settings(**values), path)


def _checked(settings: Settings, path: Path) -> Settings:
    """The settings, if what stands inside their lists and tables can be used.

    Raises:
        InvalidObjectError: it cannot.
    """
    folders = [(f"storage_classes.{name}", folder) for name, folder in settings.storage_classes.items()]
    folders += [("certs_dirs", folder) for folder in settings.certs_dirs]
    folders += [("overlay_folders", folder) for folder in settings.overlay_folders]
    folders += [("manifest_folders", folder) for folder in settings.manifest_folders]
    given = ("default_folder", "registry_auth_file")
    folders += [(key, getattr(settings, key)) for key in given if getattr(settings, key)]
    for key, folder in folders:
        if not isinstance(folder, str) or not Path(folder).is_absolute():
            raise InvalidObjectError(f"{path}: {key} must name an absolute path, found {folder!r}")
    for host in settings.insecure_registries:
        if not isinstance(host, str) or "/" in host:
            raise InvalidObjectError(f"{path}: insecure_registries must list hosts and ports, found {host!r}")
    for key in ("concurrent_imports", "concurrent_lookups"):
        if getattr(settings, key) < 1:
            raise InvalidObjectError(f"{path}: {key} must be at least 1, found {getattr(settings, key)}")
    for key in ("import_rate", "lookup_rate", "poll_jitter"):
        if getattr(settings, key) < 0:
            raise InvalidObjectError(f"{path}: {key} must not be negative, found {getattr(settings, key)}")
    return settings
