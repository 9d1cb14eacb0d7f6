"""Image references, as the OCI distribution project normalises them.

    docker://[registry[:port]/]repository[:tag][@digest]

`fedora` is `docker.io/library/fedora:latest`; a first part with a dot, a colon or an upper-case letter, or that is
`localhost`, is a registry. Refused are digests that cannot be verified here, and image ids, which name no repository.
Grammar and rules: github.com/distribution/reference, ParseNormalizedNamed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from dataimportcron.errors import InvalidReferenceError

DOCKER_HUB = "docker.io"
_SCHEME = "docker://"
_LONGEST_REPOSITORY = 255
_SHOWN = 300
"""Characters of a wrong text that a message repeats."""

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(_HOST, re.ASCII)
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG_PATTERN = r"[\w][\w.-]{0,127}"
_TAG = re.compile(_TAG_PATTERN, re.ASCII)
_IMAGE_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DIGEST_PATTERN = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_DIGEST = re.compile(_DIGEST_PATTERN, re.ASCII)
GRAMMAR = rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::{_TAG_PATTERN})?(?:@(?:{_DIGEST_PATTERN}))?"
"""What every reference matches, and little else: for who has a pattern and no parser, be it RE2's."""


def is_digest(text: str) -> bool:
    """Whether `text` is a digest that can be verified."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference.

    Attributes:
        registry: host, with a port where one was given; docker.io where none was named.
        repository: without the registry.
        tag: None where there is none; `latest` is filled in where neither tag nor digest was given.
        digest: None where there is none; it outranks the tag.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference, with or without `docker://`.

        Raises:
            InvalidReferenceError: it is none; the message names the part that is wrong.
        """
        rest = text.removeprefix(_SCHEME)
        if not rest:
            raise _invalid(text, "it names no repository")
        if _IMAGE_ID.fullmatch(rest):
            raise _invalid(text, "64 hexadecimal digits are an image id, not a repository")
        digest: str | None = None
        if "@" in rest:
            rest, digest = rest.split("@", 1)
            if not is_digest(digest):
                raise _invalid(text, f"digest {digest!r} is not sha256: and 64 hexadecimal digits in lower case")
        name, tag = rest, None
        colon = rest.rfind(":")
        if colon > rest.rfind("/") and not _is_bare_host(rest):
            name, tag = rest[:colon], rest[colon + 1 :]
            if not _TAG.fullmatch(tag):
                raise _invalid(text, f"tag {tag!r} is not letters, digits, '_', '.', '-', at most 128")
        registry, repository = _split(name)
        if not _REGISTRY.fullmatch(registry):
            raise _invalid(text, f"registry {registry!r} is no host name")
        if not _REPOSITORY.fullmatch(repository):
            upper = " (it must be lower case)" if repository != repository.lower() else ""
            raise _invalid(text, f"repository {repository!r} is no repository name{upper}")
        if len(repository) > _LONGEST_REPOSITORY:
            raise _invalid(text, f"the repository's name has more than {_LONGEST_REPOSITORY} characters")
        return cls(registry, repository, tag if tag or digest else "latest", digest)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What is asked for: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def with_digest(self, digest: str) -> Reference:
        """The same repository at a digest, without a tag.

        Raises:
            InvalidReferenceError: `digest` is none.
        """
        if not is_digest(digest):
            raise _invalid(f"{self.name}@{digest}", f"digest {digest!r} is not sha256: and 64 hexadecimal digits")
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{f'@{self.digest}' if self.digest else ''}"


def _split(name: str) -> tuple[str, str]:
    """Registry and repository of a name, Docker's defaults filled in."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, repository = DOCKER_HUB, name
    else:
        registry, repository = first, rest
    if registry == "index.docker.io":
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _is_bare_host(text: str) -> bool:
    """`[::1]` alone: its colons are no tag."""
    return text.startswith("[") and "/" not in text


def _invalid(text: str, what: str) -> InvalidReferenceError:
    return InvalidReferenceError(
        f"{text[:_SHOWN]!r} is no image reference: {what[:_SHOWN]}",
        hint="write docker://registry/repository:tag or …@sha256:…",
    )
