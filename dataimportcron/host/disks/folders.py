"""Storage folders: a storage class is one, and the default is libvirt's own where nobody else has taken it.

Two state folders must not share a storage folder: each would take the other's volumes for files of somebody else. So
the default folder is claimed, in a file beside the volumes that names the state folder; a claim whose state folder is
gone, or has become another one, counts for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from dataimportcron.errors import StorageUnavailableError
from dataimportcron.host.files import locked, write_atomically
from dataimportcron.host.state.folder import StateFolder

HIDDEN = ".dataimportcron"
"""Folder beside the pools of a storage folder: what is not a volume yet, and what we note of those that are."""

LIBVIRT_IMAGES = Path("/var/lib/libvirt/images")


class StorageFolders:
    """The storage folders of one state folder."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state

    def of(self, storage_class: str) -> tuple[Path, bool]:
        """Folder of a storage class, and whether the settings name it; the default folder where they do not.

        The default folder is claimed by this, where it is to be claimed.
        """
        mapped = self._state.settings().storage_classes.get(storage_class)
        if mapped:
            return Path(mapped), True
        return self._default(), not storage_class

    def default(self) -> Path:
        """Folder that the next volume of the default storage class goes to; nothing is claimed by asking."""
        settings = self._state.settings()
        if settings.default_folder:
            return Path(settings.default_folder)
        free = self._has_claim(LIBVIRT_IMAGES) or (_is_usable(LIBVIRT_IMAGES) and _is_stale(_claim_of(LIBVIRT_IMAGES)))
        return LIBVIRT_IMAGES if free else self._own

    def all(self) -> list[Path]:
        """Every folder in which volumes may be, the one for new ones first; each once."""
        settings = self._state.settings()
        default = [Path(settings.default_folder)] if settings.default_folder else []
        claimed = [LIBVIRT_IMAGES] if self._has_claim(LIBVIRT_IMAGES) else []
        classes = [Path(folder) for folder in settings.storage_classes.values()]
        return list(dict.fromkeys([*default, *claimed, self._own, *classes]))

    def watched(self) -> list[Path]:
        """Every folder in which there may be overlays on our volumes: the storage folders, and the users' own."""
        own = [folder for folder in (self._own,) if folder.exists()]
        storage = [folder for folder in self.all() if folder != self._own]
        users = [Path(folder) for folder in self._state.settings().overlay_folders]
        return list(dict.fromkeys([*storage, *own, *users, *_usual_folders()]))

    def ready(self, storage_class: str) -> Path:
        """Folder of a storage class, in which something can be made.

        Raises:
            StorageUnavailableError: the settings name it, and it is not there.
        """
        folder, named = self.of(storage_class)
        if folder == self._own:
            make_folder(folder)
        elif not folder.is_dir():
            of = f"storage class {storage_class}" if storage_class and named else "the default storage class"
            raise StorageUnavailableError(
                f"The folder {folder} of {of} does not exist",
                hint="mount it or make it, or name another in settings.toml; it is tried again",
            )
        return folder

    @property
    def _own(self) -> Path:
        return self._state.path / "volumes"

    def _default(self) -> Path:
        settings = self._state.settings()
        if settings.default_folder:
            return Path(settings.default_folder)
        return LIBVIRT_IMAGES if self._claim(LIBVIRT_IMAGES) else self._own

    def _claim(self, folder: Path) -> bool:
        """Take a folder that is there for us, if nobody else has it; whether it is ours now."""
        if self._has_claim(folder):
            return True
        if not _is_usable(folder):
            return False
        claim = _claim_of(folder)
        try:
            make_folder(claim.parent)
            with locked(claim.with_name("owner.lock")):
                if not _is_stale(claim):
                    return self._has_claim(folder)
                words = {"machine": self._state.identity().machine, "state": str(self._state.path)}
                write_atomically(claim, json.dumps(words, indent=1).encode())
        except OSError:
            return False  # read-only, or somebody else's
        return True

    def _has_claim(self, folder: Path) -> bool:
        """Whether the claim is ours; also by another name of the state folder, and after it was moved."""
        claim = _read(_claim_of(folder))
        machine = claim.get("machine")
        if not machine or machine != _read(self._state.path / "identity.json").get("machine"):
            return False
        claimed = Path(str(claim.get("state")))
        try:
            return claimed.samefile(self._state.path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False  # a copy of the state folder, as far as anybody can say


def make_folder(folder: Path) -> None:
    """Make a folder that others may look into, whatever our umask is; one that is there is left as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)


def _claim_of(folder: Path) -> Path:
    return folder / HIDDEN / "owner.json"


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _is_stale(claim: Path) -> bool:
    """Whether nobody who lives has a claim: there is none, or its state folder is gone or another one."""
    words = _read(claim)
    machine = words.get("machine")
    if not machine:
        return True
    try:
        living = json.loads((Path(str(words.get("state"))) / "identity.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False  # nobody can say
    return not isinstance(living, dict) or living.get("machine") != machine


def _usual_folders() -> Iterator[Path]:
    """Where libvirt keeps disks: for the whole machine where we may look, and for this user."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for folder in (LIBVIRT_IMAGES, home / "libvirt" / "images"):
        if os.access(folder, os.R_OK | os.X_OK):
            yield folder


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
