"""Names, labels and annotations as Kubernetes takes them.

On a host a name is a file's name too, so what is refused here never becomes a path: no slash, no leading dot, ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dataimportcron.api.faults import Fault, shown
from dataimportcron.api.node import Node
from dataimportcron.api.refusals import Refusal

LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63
_LONGEST_ANNOTATIONS: Final = 256 << 10
NAMESPACE: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
NAME: Final = rf"{NAMESPACE}(?:\.{NAMESPACE})*"
_NAME = re.compile(NAME, re.ASCII)
_NAMESPACE = re.compile(NAMESPACE, re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)

NAME_RULE: Final = "lower-case letters, digits, '-' and '.', at most 253, with a letter or digit at both ends"
NAMESPACE_RULE: Final = "lower-case letters, digits and '-', at most 63, with a letter or digit at both ends"
_WORD_RULE: Final = "letters, digits, '-', '_' and '.', at most 63, with a letter or digit at both ends"
_KEY_RULE: Final = f"[prefix/]name: the prefix a DNS name, the name {_WORD_RULE}"


def metadata_faults(metadata: Node) -> Iterator[Fault]:
    """Faults of an object's own metadata."""
    name = metadata["name"]
    if not name.given:
        generated = "generateName is not supported; write a name" if metadata["generateName"].given else ""
        yield name.missing(allowed=generated)
    yield from name_faults(name)
    yield from namespace_faults(metadata["namespace"])
    yield from label_faults(metadata)


def name_faults(name: Node, message: str = Refusal.OBJECT_NAME) -> Iterator[Fault]:
    """A name that no object can have, a DNS-1123 subdomain being expected; an empty one is the caller's matter."""
    if name.text and not (len(name.text) <= LONGEST_NAME and _NAME.fullmatch(name.text)):
        yield name.fault(message, allowed=NAME_RULE)


def namespace_faults(namespace: Node) -> Iterator[Fault]:
    """A name that no namespace can have, a DNS-1123 label being expected; empty means that none is given."""
    if namespace.text and not (len(namespace.text) <= LONGEST_LABEL and _NAMESPACE.fullmatch(namespace.text)):
        yield namespace.fault(Refusal.NAMESPACE, allowed=NAMESPACE_RULE)


def label_faults(metadata: Node) -> Iterator[Fault]:
    """Labels and annotations with illegal keys, labels with illegal values, annotations beyond 256 KiB."""
    labels, annotations = metadata["labels"], metadata["annotations"]
    for key, value in labels.members:
        yield from _key_faults(value, key)
        if value.text and not _is_word(value.text):
            yield value.fault(Refusal.LABEL_VALUE, allowed=f"empty, or {_WORD_RULE}")
    for key, value in annotations.members:
        yield from _key_faults(value, key)
    size = sum(len(key.encode()) + len((value.text or "").encode()) for key, value in annotations.members)
    if size > _LONGEST_ANNOTATIONS:
        found, allowed = f"{size} bytes", f"{_LONGEST_ANNOTATIONS} bytes at most"
        yield Fault(path=annotations.path, message=Refusal.ANNOTATIONS_TOO_LARGE, found=found, allowed=allowed)


def _key_faults(place: Node, key: str) -> Iterator[Fault]:
    prefix, slash, name = key.rpartition("/")
    prefix_fits = len(prefix) <= LONGEST_NAME and _NAME.fullmatch(prefix.lower()) if slash else True
    if not (prefix_fits and _is_word(name)):
        yield Fault(path=place.path, message=Refusal.QUALIFIED_NAME, found=shown(key), allowed=_KEY_RULE)


def _is_word(text: str) -> bool:
    return len(text) <= LONGEST_LABEL and _WORD.fullmatch(text) is not None
