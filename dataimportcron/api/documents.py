"""YAML as objects are written in it: the JSON part of YAML 1.1, read strictly.

What this adds to a safe loader: duplicate keys, keys that are no strings, aliases that grow without bound and nesting
without end are refused, each with its line. Times and sexagesimal numbers (`12:30`) stay the strings that Kubernetes
takes them for. A string that PyYAML wrote without quotes is read as that string, so what is stored comes back.

It refuses everything that JSON cannot say (binary, sets, foreign tags), and knows nothing of kinds: see `validation`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dataimportcron.api.faults import sort_of
from dataimportcron.errors import InvalidObjectError

Document = dict[str, Any]

_MOST_NODES: Final = 100_000
"""Values in one document with its aliases written out; the largest object that an API server takes has fewer."""
_DEEPEST: Final = 64
_TAG: Final = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0b[0-1_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*)", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_BOOL = re.compile("yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF")
_NULL = re.compile("~|null|Null|NULL|")
_HINTS = (
    (r"'\t' that cannot start", "indent with spaces, not with tabs"),
    ("that cannot start any token", "quote the value"),
    ("expected alphabetic or numeric character", 'quote a value that starts with * or &, as in "0 0 * * *"'),
    ("mapping values are not allowed", 'check the indentation, and quote a value that contains ": "'),
    ("could not find expected ':'", "check the indentation, and that a space follows each colon"),
)


def load_documents(text: str, *, source: str = "") -> list[Document]:
    """All objects of a YAML text: empty documents left out, lists (`kind: List`) taken apart.

    Args:
        text: one document or several.
        source: the file's name, for errors.

    Raises:
        InvalidObjectError: it is no YAML, or holds what an object cannot; the message names the line.
    """
    reader = _Reader(text, source)
    return [item for document, line in reader.documents() for item in _expanded(document, reader, line)]


def _expanded(document: object, reader: _Reader, line: int) -> list[Document]:
    if document is None:
        return []
    if not isinstance(document, dict):
        raise reader.error(line, f"expected an object with apiVersion and kind, found {sort_of(document)}")
    kind, items = document.get("kind"), document.get("items")
    if not (isinstance(kind, str) and kind.endswith("List")):
        return [document]
    if items is not None and not isinstance(items, list):
        raise reader.error(line, f"items of a {kind} must be a list, found {sort_of(items)}")
    return [found for item in items or [] for found in _expanded(item, reader, line)]


class _Loader(yaml.SafeLoader):
    """Composes nodes, with a limit to nesting; their values are `_Reader`'s business."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 -- PyYAML's own shape
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = yaml.Mark("", self.index, self.line, self.column, None, 0)
            raise yaml.MarkedYAMLError(problem=f"more than {_DEEPEST} levels of nesting", problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, _pattern, _first in (
    ("bool", _BOOL, "yYnNtTfFoO"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("merge", re.compile("<<"), "<"),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern.pattern})\\Z", re.ASCII), list(_first))


class _Reader:
    """Reads one text, and knows its name for errors."""

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source

    def error(self, line: int, message: str, *, hint: str = "") -> InvalidObjectError:
        """An error at a line, counted from 1."""
        where = f"{self._source}, line {line}" if self._source else f"line {line}"
        return InvalidObjectError(f"{where}: {message}", hint=hint)

    def documents(self) -> list[tuple[object, int]]:
        """Every document with the line that it starts at."""
        found: list[tuple[object, int]] = []
        loader: _Loader | None = None
        try:
            loader = _Loader(self._text)
            while loader.check_node():
                node = loader.get_node()
                if node is not None:
                    self._measure(node, {})
                    found.append((self._value(node), _line(node)))
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            raise self.error(line, f"character U+{_code(error.character):04X} is not allowed in YAML") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or "is no YAML"
            hint = next((hint for part, hint in _HINTS if part in problem), "")
            raise self.error(mark.line + 1 if mark else 1, f"not YAML: {problem}", hint=hint) from error
        except (ValueError, OverflowError) as error:
            # PyYAML passes on what chr() says of an escape such as "\UFFFFFFFF".
            raise self.error(loader.line + 1 if loader else 1, f"not YAML: {error}") from error
        return found

    def _measure(self, node: Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
        """Number of values and levels below a node, aliases written out.

        An alias follows its anchor, so each node is measured before it is met again, or while it is being measured.
        """
        if id(node) in known:
            extent = known[id(node)]
            if extent is None:
                raise self.error(_line(node), "an anchor contains itself")
            return extent
        known[id(node)] = None
        extents = [self._measure(child, known) for child in _children(node)]
        size = 1 + sum(size for size, _ in extents)
        depth = 1 + max((depth for _, depth in extents), default=0)
        if size > _MOST_NODES:
            raise self.error(_line(node), f"more than {_MOST_NODES} values, aliases written out")
        if depth > _DEEPEST:
            raise self.error(_line(node), f"more than {_DEEPEST} levels of nesting, aliases written out")
        known[id(node)] = size, depth
        return size, depth

    def _value(self, node: Node) -> object:
        tag = node.tag.removeprefix(_TAG)
        if isinstance(node, MappingNode) and tag == "map":
            return self._mapping(node)
        if isinstance(node, SequenceNode) and tag == "seq":
            return [self._value(child) for child in node.value]
        if isinstance(node, ScalarNode):
            return self._scalar(node, tag)
        raise self.error(_line(node), f"tag {node.tag} is not allowed", hint="objects are made of what JSON knows")

    def _scalar(self, node: ScalarNode, tag: str) -> object:
        text: str = node.value
        plain = text.replace("_", "")
        try:
            match tag:
                case "str":
                    # Fails for half a surrogate pair, which an escape can write and no file can hold.
                    return text.encode().decode()
                case "null" if _NULL.fullmatch(text):
                    return None
                case "bool" if _BOOL.fullmatch(text):
                    return text.lower() in {"yes", "true", "on"}
                case "int" if _INT.fullmatch(text):
                    return int(plain, 8) if re.match(r"[-+]?0[0-7]", plain) else int(plain, 0)
                case "float" if _FLOAT.fullmatch(text):
                    return float(re.sub(r"\.(?=[infa])", "", plain.lower()))
        except ValueError as error:
            raise self.error(_line(node), f"{text[:80]!r} cannot be read: {error}") from error
        raise self.error(_line(node), f"tag {node.tag} is not allowed here", hint="write it as a string")

    def _mapping(self, node: MappingNode) -> Document:
        own: Document = {}
        merged: list[Document] = []
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if key_node.tag == f"{_TAG}merge":
                merged += self._merged(value_node)
                continue
            key = self._value(key_node)
            if not isinstance(key, str):
                raise self.error(line, f"a key must be a string, found {key!r}", hint="quote it")
            if key in lines:
                raise self.error(line, f"key {key!r} stands here and in line {lines[key]}", hint="remove one of them")
            lines[key] = line
            own[key] = self._value(value_node)
        for document in merged:
            own = document | own
        return own

    def _merged(self, node: Node) -> list[Document]:
        """The objects under a merge key; what stands first wins."""
        value = self._value(node)
        documents = value if isinstance(value, list) else [value]
        found = [document for document in documents if isinstance(document, dict)]
        if len(found) < len(documents):
            raise self.error(_line(node), "<< takes an object, or a list of objects")
        return found


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return node.value if isinstance(node, SequenceNode) else []


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _code(character: str | int) -> int:
    return character if isinstance(character, int) else ord(character[:1] or "\0")
