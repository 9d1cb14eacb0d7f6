"""Places in a document: a value of any type together with its path.

Rules read documents through these and not through models, so that one wrong type hides no other fault. Nothing here
raises: what is not there, or is of another type, is simply absent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

from dataimportcron.api.faults import Fault, shown, sort_of
from dataimportcron.api.refusals import Refusal

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value and where it stands. Null counts as absent, as to an API server.

    Attributes:
        value: as read from YAML or JSON.
        path: from the document's root; empty for the root itself.
        secret: nothing of the value may be shown.
    """

    value: object
    path: str = ""
    secret: bool = False

    def __getitem__(self, key: str) -> Node:
        value = self.value.get(key) if isinstance(self.value, dict) else None
        step = f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"
        return Node(value=value, path=f"{self.path}{step}".removeprefix("."), secret=self.secret)

    @property
    def present(self) -> bool:
        """Whether anything stands here."""
        return self.value is not None

    @property
    def given(self) -> bool:
        """Whether anything but an empty string stands here: to CDI a pointer to "" is as good as none."""
        return self.value is not None and self.value != ""

    @property
    def text(self) -> str | None:
        """The value if it is a string."""
        return self.value if isinstance(self.value, str) else None

    @property
    def keys(self) -> list[str]:
        """The keys of an object whose values are present, in its order; none of anything else."""
        if not isinstance(self.value, dict):
            return []
        return [key for key, value in self.value.items() if isinstance(key, str) and value is not None]

    @property
    def members(self) -> list[tuple[str, Node]]:
        """Keys and places of an object; none of anything else."""
        return [(key, self[key]) for key in self.keys]

    @property
    def items(self) -> list[Node]:
        """The places of a list; none of anything else."""
        values = self.value if isinstance(self.value, list) else []
        return [
            Node(value=value, path=f"{self.path}[{index}]", secret=self.secret) for index, value in enumerate(values)
        ]

    def concealed(self) -> Node:
        """The same place, of whose value nothing is shown."""
        return replace(self, secret=True)

    def fault(self, message: str, *, allowed: str = "") -> Fault:
        """That something is wrong here; what stands here is shown with it."""
        found = "" if self.secret or self.value is None else shown(self.value)
        return Fault(path=self.path, message=message, found=found, allowed=allowed)

    def missing(self, *, allowed: str = "") -> Fault:
        """That something must stand here."""
        return Fault(path=self.path, message=Refusal.REQUIRED, allowed=allowed)

    def mistyped(self, expected: str) -> Fault:
        """That something of another type must stand here; `expected` as in "a string"."""
        sort, scalar = sort_of(self.value), isinstance(self.value, bool | int | float | str)
        found = f"{sort.replace('a ', 'the ', 1)} {shown(self.value)}" if scalar and not self.secret else sort
        return Fault(path=self.path, message=f"must be {expected}", found=found, allowed=self._cure(expected))

    def _cure(self, expected: str) -> str:
        """What to do about a value that YAML reads as another type than its writer meant."""
        if expected == "a string":
            if self.value is None:
                return 'write "" for an empty string'
            if isinstance(self.value, bool):
                return "quote it; YAML reads yes, no, on, off, true and false as booleans"
            return "quote it" if isinstance(self.value, int | float) else ""
        quoted = isinstance(self.value, str) and expected in {"a whole number", "true or false"}
        return "write it without quotes" if quoted else ""
