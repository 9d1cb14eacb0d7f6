"""What the folder /disk of an image holds, when all layers have been laid over each other.

A container disk has exactly one file there, of any name. Several, none, a folder or a link are refused, by name.
Whiteouts of the OCI image specification hold: they hide what layers below have, never what their own layer has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dataimportcron.errors import InvalidImageError
from dataimportcron.oci.tar import Entry

_FOLDER = "disk"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_HINT = "build it as: FROM scratch / ADD disk.qcow2 /disk/"
_MOST_NAMES = 10_000
"""In /disk, of which one may be left; bounds what is kept in memory, however many layers there are."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file of /disk is: the number of its layer and its name."""

    layer: int
    name: str


@dataclass(slots=True)
class Catalog:
    """Filled layer by layer, lowest first."""

    _below: dict[str, tuple[int, str]] = field(default_factory=dict)
    _here: dict[str, tuple[int, str]] = field(default_factory=dict)
    _hidden: set[str] = field(default_factory=set)
    _all_hidden: bool = False
    _folder_kind: str = "directory"

    def add(self, layer: int, entry: Entry) -> str | None:
        """Take an entry of a layer.

        Returns:
            The file's name when its bytes are those of a file in /disk, else None.
        """
        path = entry.path
        if path in ((_OPAQUE,), (_WHITEOUT + _FOLDER,), (_FOLDER, _OPAQUE)):
            self._all_hidden = True
        elif path == (_FOLDER,):
            self._folder_kind = entry.kind
            self._all_hidden |= entry.kind != "directory"
        elif path[:1] == (_FOLDER,):
            return self._add_member(layer, path[1], entry.kind if len(path) == 2 else "directory")  # noqa: PLR2004
        return None

    def end_layer(self) -> None:
        """The layer has ended: lay it over the ones below."""
        if self._all_hidden:
            self._below.clear()
        for name in self._hidden:
            self._below.pop(name, None)
        self._below |= self._here
        self._here = {}
        self._hidden = set()
        self._all_hidden = False

    def only_file(self) -> Place:
        """The one file in /disk.

        Raises:
            InvalidImageError: it is not exactly one file.
        """
        if self._folder_kind != "directory":
            raise InvalidImageError(f"Invalid container image: /disk is a {self._folder_kind}, expected a directory")
        found = sorted(self._below.items())
        if len(found) == 1 and found[0][1][1] == "file":
            return Place(found[0][1][0], found[0][0])
        listed = ", ".join(f"{_shown(name)} ({kind})" for name, (_, kind) in found[:10]) or "nothing"
        more = f" and {len(found) - 10} more" if len(found) > 10 else ""  # noqa: PLR2004 -- as many as are listed
        raise InvalidImageError(
            f"Invalid container image: /disk must hold exactly one file, found {listed}{more}",
            hint=_HINT,
        )

    def _add_member(self, layer: int, name: str, kind: str) -> str | None:
        if len(self._below) + len(self._here) + len(self._hidden) >= _MOST_NAMES:
            raise InvalidImageError(
                f"Invalid container image: /disk must hold exactly one file, found more than {_MOST_NAMES} names",
                hint=_HINT,
            )
        if name.startswith(_WHITEOUT):
            if not name.startswith(_WHITEOUT * 2):
                self._hidden.add(name.removeprefix(_WHITEOUT))
            return None
        self._here[name] = (layer, kind)
        return name if kind == "file" else None


def _shown(name: str) -> str:
    return name.encode("unicode_escape", "replace").decode("ascii")[:100]
