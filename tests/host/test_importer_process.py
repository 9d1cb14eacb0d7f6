"""The importer as a process: killed, orphaned, in another worker's hands, refused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dataimportcron import errors
from dataimportcron.api.types import ConfigMap, ObjectMeta
from dataimportcron.errors import ImporterDiedError, MissingDependencyError, TargetBusyError
from dataimportcron.host.files import try_lock
from dataimportcron.values import ImageSource, VolumeSpec
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from tests.support.home import keep_volumes_inside
from tests.support.volume_files import content
from worker.build import host_home

MIB = 1 << 20
SPEC = VolumeSpec(namespace="golden", name="fedora-1", uid="uid-1", size=2 * MIB)


def ignore(_transfer):
    """A report that nobody reads."""


@dataclass(frozen=True)
class Release:
    """An image in a registry."""

    image: ImageSource
    digest: str
    disk: bytes
    ca: str


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder, disk = tmp_path_factory.mktemp("registry"), os.urandom(MIB)
    (folder / "disk.img").write_bytes(disk)
    with registry(folder / "registry") as running:
        with client(running) as http:
            digest = push(http, "disks", "latest", Image(layers=(disk_layer(folder / "disk.img", folder),)))
        url = f"docker://{running.host}/disks:latest"
        image = ImageSource(namespace="golden", url=url, architecture="amd64", cert_config_map="certs")
        yield Release(image=image, digest=digest, disk=disk, ca=running.ca.read_text())


@pytest.fixture
def home(state, release):
    home = host_home(state)
    home.store.create(ConfigMap(metadata=ObjectMeta(name="certs", namespace="golden"), data={"ca.crt": release.ca}))
    yield home
    home.source.close()


@pytest.fixture
def slow(state):
    """Imports are slow, until it is called."""
    keep_volumes_inside(state, "import_rate = 1000\n")
    return lambda: keep_volumes_inside(state)


def importers(state):
    """Processes that run an importer of this state folder."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal():
                command = (process / "cmdline").read_bytes().split(b"\0")
                if b"dataimportcron.importer" in command and any(str(state.path).encode() in part for part in command):
                    found.append(int(process.name))
    return found


async def begun(home, release):
    """An import under way: its task."""
    downloading = asyncio.Event()

    def report(transfer):
        if transfer.done:
            downloading.set()

    task = asyncio.create_task(home.importer.run(release.image, release.digest, SPEC, report))
    async with asyncio.timeout(20):
        await downloading.wait()
    return task


async def finished(home, release):
    await home.importer.run(release.image, release.digest, SPEC, ignore)
    found = await home.volumes.find("golden", "fedora-1")
    assert content(found) == release.disk.ljust(2 * MIB, b"\0")


async def test_killed_in_its_middle_and_run_again(home, state, release, slow):
    task = await begun(home, release)
    [process] = importers(state)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ImporterDiedError, match=r"status -9"):
        await task
    assert await home.volumes.find("golden", "fedora-1") is None
    assert list(state.run.glob("import-*")) == []
    slow()
    await finished(home, release)


@pytest.mark.usefixtures("slow")
async def test_cancelled_means_ended(home, state, release):
    task = await begun(home, release)
    assert len(importers(state)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert importers(state) == []
    assert list(state.run.glob("import-*")) == []


@pytest.mark.usefixtures("slow")
async def test_one_that_hears_nothing_is_killed(home, state, release, monkeypatch):
    monkeypatch.setattr("dataimportcron.host.importer._PATIENCE", 0.2)
    task = await begun(home, release)
    [process] = importers(state)
    os.kill(process, signal.SIGSTOP)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert importers(state) == []


_WORKER = """
import asyncio, sys
from pathlib import Path
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.values import ImageSource, VolumeSpec
from worker.build import host_home
image = ImageSource(namespace="golden", url=sys.argv[2], architecture="amd64", cert_config_map="certs")
volume = VolumeSpec(namespace="golden", name="fedora-1", uid="uid-1", size=2 << 20)
home = host_home(StateFolder(Path(sys.argv[1])))
report = lambda transfer: transfer.done and print("begun", flush=True)
asyncio.run(home.importer.run(image, sys.argv[3], volume, report))
"""


async def test_an_importer_dies_with_its_worker(home, state, release, slow):
    command = [sys.executable, "-c", _WORKER, str(state.path), release.image.url, release.digest]
    worker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert await worker.stdout.readline() == b"begun\n"
    assert len(importers(state)) == 1
    worker.kill()
    await worker.wait()
    async with asyncio.timeout(10):
        while importers(state):  # noqa: ASYNC110 -- another program's process sets no event
            await asyncio.sleep(0.02)
    assert await home.volumes.find("golden", "fedora-1") is None
    slow()
    await finished(home, release)
    assert list(state.run.glob("import-*")) == []


async def test_two_at_a_time_never_write_one_target(home, release, slow):
    task = await begun(home, release)
    slow()
    with pytest.raises(TargetBusyError):
        await home.importer.run(release.image, release.digest, SPEC, ignore)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await finished(home, release)


async def test_what_another_importer_holds_is_not_published(home, release):
    place = home.volumes.place(SPEC)
    place.partial.parent.mkdir(parents=True)
    lock = try_lock(place.partial)
    place.marker.write_text("{}")
    with pytest.raises(TargetBusyError):
        home.importer._hand_over(SPEC, release.digest)
    assert await home.volumes.find("golden", "fedora-1") is None
    os.close(lock)
    await finished(home, release)


async def test_a_crash_between_import_and_pool_costs_no_second_download(home, release, monkeypatch):
    def crash(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        task = asyncio.ensure_future(asyncio.to_thread(_run_to_crash, home, release))
        assert await task == "KeyboardInterrupt"
    done = await home.importer.run(release.image, release.digest, SPEC, ignore)
    assert done.done == 0
    await finished(home, release)


def _run_to_crash(home, release):
    try:
        asyncio.run(home.importer.run(release.image, release.digest, SPEC, ignore))
    except BaseException as error:  # noqa: BLE001 -- it stands for the end of the process
        return type(error).__name__
    return "no crash"


async def test_a_missing_config_map_is_named_before_anything_starts(home, state, release):
    home.store.delete(home.store.get(ConfigMap, "golden", "certs"))
    with pytest.raises(MissingDependencyError, match="ConfigMap golden/certs"):
        await home.importer.run(release.image, release.digest, SPEC, ignore)
    assert importers(state) == []


@pytest.fixture
def archive(release, tmp_path):
    """The same image as an archive that skopeo made."""
    made = f"oci-archive:{tmp_path / 'made.tar'}"
    copy = ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", "--src-tls-verify=false"]
    subprocess.run([*copy, release.image.url.replace(":latest", f"@{release.digest}"), made], check=True)
    return made


async def test_an_archive_is_polled_and_imported(home, release, archive):
    image = ImageSource(namespace="golden", url=archive, architecture="amd64")
    resolved = await home.source.resolve(image)
    assert (resolved.digest, resolved.manifest_digest) == (release.digest, release.digest)
    with pytest.raises(errors.PlatformNotFoundError, match="arm64"):
        await home.source.resolve(ImageSource(namespace="golden", url=archive, architecture="arm64"))
    with pytest.raises(errors.ImageNotFoundError, match="holds no image with the digest"):
        await home.importer.run(image, f"sha256:{'0' * 64}", SPEC, ignore)
    await home.importer.run(image, resolved.digest, SPEC, ignore)
    found = await home.volumes.find(SPEC.namespace, SPEC.name)
    assert content(found) == release.disk.ljust(2 * MIB, b"\0")
    assert found.digest == release.digest


async def test_the_settings_architecture_counts_for_polls_and_imports_alike(home, state, release):
    keep_volumes_inside(state, 'architecture = "arm64"\n')
    image = replace(release.image, architecture="")
    with pytest.raises(errors.PlatformNotFoundError, match="arm64"):
        await home.source.resolve(image)
    with pytest.raises(errors.PlatformNotFoundError, match="arm64"):
        await home.importer.run(image, release.digest, SPEC, ignore)
