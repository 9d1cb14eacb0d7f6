"""YAML as people write it, read strictly: no duplicate keys, no bombs, errors with a line number."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from dataimportcron.errors import InvalidObjectError

Document = dict[str, Any]

_LARGEST = 3 << 20
"""Bytes; etcd takes no larger object either."""
_MOST_ALIASES = 100


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key may stand once, and aliases are few."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > _MOST_ALIASES:
                raise yaml.MarkedYAMLError(problem=f"more than {_MOST_ALIASES} aliases")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


# A timestamp in YAML 1.1 becomes a datetime; Kubernetes reads YAML as JSON, where it is a string.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_documents(text: str, *, source: str = "") -> list[Document]:
    """All objects in a YAML text; empty documents are passed over, a List stands for its items.

    Raises:
        InvalidObjectError: it is no YAML, or a document is no mapping; the message names file and line.
    """
    where = source or "the document"
    if len(text.encode()) > _LARGEST:
        raise InvalidObjectError(f"{where} has more than {_LARGEST} bytes")
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise InvalidObjectError(f"{where}:{line} {error.problem or error.context or 'no YAML'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidObjectError(f"{where}: no YAML: {str(error).splitlines()[0]}") from error
    documents: list[Document] = []
    for document in found:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InvalidObjectError(f"{where}: a document must be a mapping, found {type(document).__name__}")
        items = document.get("items")
        if document.get("kind") == "List" and isinstance(items, list):
            documents += [item for item in items if isinstance(item, dict)]
        else:
            documents.append(document)
    return documents
