"""`ports.Source` and `ports.Importer`: the fakes of the workflow tests behave as the real adapters do."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from dataimportcron.errors import ImageNotFoundError
from dataimportcron.values import VolumeSpec
from tests.support.volume_files import content, status

MIB = 1 << 20
SPEC = VolumeSpec(namespace="golden", name="fedora-1", uid="uid-1", size=2 * MIB)


def disk(size=MIB):
    return b"boot" + os.urandom(size // 2) + bytes(size - size // 2 - 4)


def ignore(_transfer):
    """A report that nobody reads."""


async def test_resolve_follows_the_tag(images):
    image, first = images.publish("latest", disk())
    assert (await images.source.resolve(image)).digest == first
    _, second = images.publish("latest", disk())
    resolved = await images.source.resolve(image, fresh=True)
    assert second != first
    assert resolved.digest == second
    assert resolved.manifest_digest.startswith("sha256:")


async def test_resolve_what_is_not_there(images):
    image, _ = images.publish("latest", disk())
    with pytest.raises(ImageNotFoundError):
        await images.source.resolve(replace(image, url=image.url.replace(":latest", ":absent")))


async def test_import_makes_a_complete_volume(images, volumes):
    data = disk()
    image, digest = images.publish("latest", data)
    done = await images.importer.run(image, digest, SPEC, ignore)
    found = await volumes.find("golden", "fedora-1")
    assert (found.size, found.digest) == (2 * MIB, digest)
    assert content(found) == data.ljust(2 * MIB, b"\0")
    assert done.done == done.total > 0
    assert done.written > 0


async def test_import_is_of_the_digest_not_of_the_tag(images, volumes):
    data = disk()
    image, digest = images.publish("latest", data)
    images.publish("latest", disk())
    await images.importer.run(image, digest, SPEC, ignore)
    assert content(await volumes.find("golden", "fedora-1"))[:MIB] == data


async def test_import_again_is_no_op(images, volumes):
    image, digest = images.publish("latest", disk())
    await images.importer.run(image, digest, SPEC, ignore)
    before = status(await volumes.find("golden", "fedora-1"))
    await images.importer.run(image, digest, SPEC, ignore)
    after = status(await volumes.find("golden", "fedora-1"))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_import_of_what_is_not_there(images, volumes):
    image, _ = images.publish("latest", disk())
    with pytest.raises(ImageNotFoundError):
        await images.importer.run(image, f"sha256:{'0' * 64}", SPEC, ignore)
    assert await volumes.find("golden", "fedora-1") is None


async def test_golden_volumes_are_read_only(images, volumes):
    image, digest = images.publish("latest", disk())
    await images.importer.run(image, digest, SPEC, ignore)
    assert status(await volumes.find("golden", "fedora-1")).st_mode & 0o777 == 0o444


async def test_a_cancelled_import_has_stopped_and_can_be_run_again(images, volumes):
    data = disk()
    image, digest = images.publish("latest", data)
    begun = asyncio.Event()
    with images.stuck():
        task = asyncio.create_task(images.importer.run(image, digest, SPEC, lambda _: begun.set()))
        async with asyncio.timeout(120):
            await begun.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert await volumes.find("golden", "fedora-1") is None
    await images.importer.run(image, digest, SPEC, ignore)
    assert content(await volumes.find("golden", "fedora-1"))[:MIB] == data


async def test_a_deleted_volume_is_imported_again(images, volumes):
    data = disk()
    image, digest = images.publish("latest", data)
    await images.importer.run(image, digest, SPEC, ignore)
    await volumes.delete("golden", "fedora-1")
    assert await volumes.find("golden", "fedora-1") is None
    await images.importer.run(image, digest, SPEC, ignore)
    assert content(await volumes.find("golden", "fedora-1"))[:MIB] == data
