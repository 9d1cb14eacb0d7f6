"""Homes under contract. A new home adds itself to the params here and has to pass what the others pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataimportcron.api.types import ConfigMap, ObjectMeta, Resource
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import Document
from dataimportcron.values import ImageSource
from demo.push import Image, disk_layer, push
from demo.registry import RunningRegistry, client, registry
from tests.support.fakes import FakeImporter, FakeSource
from tests.support.home import keep_volumes_inside
from worker.build import HostHome, host_home

NAMESPACE = "golden"


@dataclass(slots=True)
class Bench:
    """A home and what the ports do not say about it."""

    home: HostHome

    def events_of(self, resource: Resource) -> list[Document]:
        metadata = resource.metadata
        return self.home.store.record(type(resource), metadata.namespace, metadata.name).events


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    keep_volumes_inside(folder)
    return folder


@pytest.fixture(params=["host"])
def bench(request, state):
    """The ports that have one real adapter and no fake."""
    assert request.param == "host"
    return Bench(host_home(state))


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory) -> Iterator[RunningRegistry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


class FakeImages:
    """Images that the fakes know."""

    def __init__(self, home: HostHome) -> None:
        self.source = FakeSource()
        self.importer = FakeImporter(home.volumes)

    def publish(self, tag: str, content: bytes) -> tuple[ImageSource, str]:
        image = ImageSource(namespace=NAMESPACE, url=f"docker://registry.example/disks:{tag}")
        self.importer.add(content)
        return image, self.source.release(image.url, content)

    @contextmanager
    def stuck(self) -> Iterator[None]:
        self.importer.gate.clear()
        yield
        self.importer.gate.set()


class RegistryImages:
    """Images of a real registry, for the real source and importer. A repository of its own per test."""

    def __init__(self, home: HostHome, running: RunningRegistry, folder: Path) -> None:
        self.source = home.source
        self.importer = home.importer
        self._home = home
        self._running = running
        self._folder = folder
        self._repository = f"disks-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
        ca = ConfigMap(metadata=ObjectMeta(name="certs", namespace=NAMESPACE), data={"ca.crt": running.ca.read_text()})
        home.store.create(ca)

    def publish(self, tag: str, content: bytes) -> tuple[ImageSource, str]:
        disk = self._folder / "disk.img"
        disk.write_bytes(content)
        url = f"docker://{self._running.host}/{self._repository}:{tag}"
        with client(self._running) as http:
            digest = push(http, self._repository, tag, Image(layers=(disk_layer(disk, self._folder),)))
        return ImageSource(namespace=NAMESPACE, url=url, architecture="amd64", cert_config_map="certs"), digest

    @contextmanager
    def stuck(self) -> Iterator[None]:
        keep_volumes_inside(self._home.state, "import_rate = 1000\n")
        yield
        keep_volumes_inside(self._home.state)


@pytest.fixture(params=["fake", "host"])
def images(request, state, tmp_path):
    """A source, an importer, and a way to publish what they read."""
    home = host_home(state)
    if request.param == "fake":
        made = FakeImages(home)
    else:
        made = RegistryImages(home, request.getfixturevalue("docker_registry"), tmp_path)
    yield made
    made.source.close()


@pytest.fixture
def volumes(state):
    """The volumes of the home that `images` imports into."""
    return host_home(state).volumes
