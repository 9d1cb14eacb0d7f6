"""Registries with two small images and their index, open or locked in several ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dataimportcron.oci.credentials import Credentials
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Access
from dataimportcron.reference import Reference
from demo.push import LAYER_TAR, Image, Layer, disk_layer, push, push_index
from demo.registry import RunningRegistry, client, registry
from tests.support.token_server import TokenServer

AMD64 = Platform(architecture="amd64")
ROBOT = Credentials(username="robot", password="correct horse")
# bcrypt is all that docker-registry takes, and nothing in the environment makes it.
HTPASSWD = "robot:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stocked:
    """A running registry with images.

    Attributes:
        running: the registry.
        repository: of all images.
        amd64: digest of the tag amd64.
        arm64: of the tag arm64.
        index: of the tag latest, the index of both.
        layer: the layer of amd64.
        http: a client that may push.
    """

    running: RunningRegistry
    repository: str
    amd64: str
    arm64: str
    index: str
    layer: Layer
    http: httpx.Client

    def reference(self, rest: str = ":latest", *, registry: str = "") -> Reference:
        """One of its images; in the name of another registry, if one is given."""
        return Reference.parse(f"{registry or self.running.host}/{self.repository}{rest}")

    def access(self, **members: Any) -> Access:
        """Access that trusts its CA."""
        texts = (self.running.ca.read_text(),) if self.running.ca else ()
        return Access(**{"ca_certificates": texts, **members})


@contextmanager
def stocked(
    folder: Path,
    *,
    repository: str = "disk",
    auth: httpx.Auth | None = None,
    registry_auth: Any = None,
    tls: bool = True,
) -> Iterator[Stocked]:
    """Run a registry; images are pushed with `auth`, `registry_auth` is the registry's own configuration of it."""
    with registry(folder / "registry", tls=tls, auth=registry_auth) as running, client(running, auth=auth) as http:
        layers = {name: _layer(folder, name) for name in ("amd64", "arm64")}
        digests = {
            name: push(http, repository, name, Image(layers=(layer,), architecture=name))
            for name, layer in layers.items()
        }
        index = push_index(http, repository, "latest", digests)
        yield Stocked(
            running=running,
            repository=repository,
            amd64=digests["amd64"],
            arm64=digests["arm64"],
            index=index,
            layer=layers["amd64"],
            http=http,
        )


class Bearer(httpx.Auth):
    """Lets a client push with a token of a token server's own making."""

    def __init__(self, server: TokenServer, repository: str) -> None:
        self._token = server.token([f"repository:{repository}:pull,push"], known=True)

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """Add the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _layer(folder: Path, architecture: str) -> Layer:
    """Of 1 MiB and a bit, so that it takes several reads."""
    disk = folder / f"{architecture}.img"
    disk.write_bytes(b"".join(f"{architecture} {number:08}\n".encode() for number in range(80_000)))
    layer = disk_layer(disk, folder, media_type=LAYER_TAR)
    assert layer.media_type == LAYER_TAR
    return layer
