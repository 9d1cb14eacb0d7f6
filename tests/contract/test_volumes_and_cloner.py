"""`ports.Volumes` and `ports.Cloner`, as every home keeps them."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from pathlib import Path

import pytest

from dataimportcron.errors import MissingDependencyError, VolumeTooSmallError
from dataimportcron.ports import VolumeSpec
from tests.support.volume_files import content, overwrite

MIB = 1 << 20


def spec(name, size=4 * MIB, uid=None):
    return VolumeSpec(namespace="golden", name=name, uid=uid or f"uid-of-{name}", size=size)


def opened(volume):
    return Path(volume.location).open("rb")


def ignore(_transfer):
    """A report that nobody reads."""


@pytest.fixture
def volumes(bench):
    return bench.home.volumes


@pytest.fixture
def cloner(bench):
    return bench.home.cloner


@pytest.fixture
async def source(volumes, cloner):
    """A volume with data at both ends and a hole between."""
    await cloner.blank(spec("source"))
    volume = await volumes.find("golden", "source")
    overwrite(volume, os.urandom(100_001))
    overwrite(volume, b"tail!", at=4 * MIB - 5)
    return volume


async def test_no_volume(volumes):
    assert await volumes.find("golden", "absent") is None
    assert await volumes.in_use("golden", "absent") == ""
    await volumes.delete("golden", "absent")


async def test_blank_is_zeros_of_the_size_asked_for(volumes, cloner):
    await cloner.blank(spec("blank", 3 * MIB))
    found = await volumes.find("golden", "blank")
    assert (found.namespace, found.name, found.size, found.digest) == ("golden", "blank", 3 * MIB, "")
    assert content(found) == bytes(3 * MIB)


async def test_a_complete_blank_volume_is_left_alone(volumes, cloner, source):
    before = content(source)
    await cloner.blank(spec("source"))
    assert content(await volumes.find("golden", "source")) == before


async def test_delete_and_make_again(volumes, cloner, source):
    await volumes.delete("golden", "source")
    assert await volumes.find("golden", "source") is None
    with pytest.raises(FileNotFoundError):
        content(source)
    await cloner.blank(spec("source", uid="another"))
    again = await volumes.find("golden", "source")
    assert content(again) == bytes(4 * MIB)


@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 1, 64 * MIB])
async def test_clone_has_the_bytes_then_zeros(volumes, cloner, source, size):
    done = await cloner.run(("golden", "source"), spec("clone", size), ignore)
    found = await volumes.find("golden", "clone")
    clone, original = content(found), content(source)
    assert found.size == len(clone) == size
    assert clone == original.ljust(size, b"\0")
    assert done.done == done.total == len(original)


async def test_clone_is_its_own_file(volumes, cloner, source):
    before = content(source)
    await cloner.run(("golden", "source"), spec("clone"), ignore)
    overwrite(await volumes.find("golden", "clone"), b"a virtual machine writes")
    assert content(source) == before


@pytest.mark.usefixtures("source")
async def test_clone_again_is_no_op(volumes, cloner):
    await cloner.run(("golden", "source"), spec("clone"), ignore)
    found = await volumes.find("golden", "clone")
    overwrite(found, b"a virtual machine wrote")
    await cloner.run(("golden", "source"), spec("clone"), ignore)
    assert content(found).startswith(b"a virtual machine wrote")
    await volumes.delete("golden", "source")
    await cloner.run(("golden", "source"), spec("clone"), ignore)


async def test_clone_for_another_object_is_made_anew(volumes, cloner, source):
    await cloner.blank(spec("clone", uid="earlier"))
    await cloner.run(("golden", "source"), spec("clone", uid="later"), ignore)
    found = await volumes.find("golden", "clone")
    assert content(found) == content(source)


async def test_clone_into_less(volumes, cloner, source):
    with pytest.raises(VolumeTooSmallError, match=rf"{4 * MIB - 1} .*{4 * MIB} "):
        await cloner.run(("golden", "source"), spec("clone", 4 * MIB - 1), ignore)
    assert await volumes.find("golden", "clone") is None
    assert source.size == 4 * MIB


async def test_clone_of_nothing(volumes, cloner):
    with pytest.raises(MissingDependencyError, match="golden/absent"):
        await cloner.run(("golden", "absent"), spec("clone"), ignore)
    assert await volumes.find("golden", "clone") is None


async def test_reports_come_in_the_callers_loop(cloner, source):
    loop, seen = asyncio.get_running_loop(), []

    def report(transfer):
        assert asyncio.get_running_loop() is loop
        seen.append(transfer)

    await cloner.run(("golden", "source"), spec("clone"), report)
    assert all(0 < transfer.done <= transfer.total == source.size for transfer in seen)


async def test_in_use(volumes, source):
    assert await volumes.in_use("golden", "source") == ""
    with closing(opened(source)):
        assert source.location in await volumes.in_use("golden", "source")
    assert await volumes.in_use("golden", "source") == ""
