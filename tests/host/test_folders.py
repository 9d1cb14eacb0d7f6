"""Storage folders: which is the default, who has claimed it, and what is said of one that is not there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dataimportcron.errors import NoSpaceError, StorageUnavailableError, TargetNotWritableError
from dataimportcron.host.cloner import HostCloner
from dataimportcron.host.disks import folders as module
from dataimportcron.host.disks.folders import StorageFolders
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.values import CloneSource, VolumeSpec
from tests.support.home import keep_volumes_inside
from tests.support.storage import denied, mounted, public_folder

SOURCE = CloneSource(namespace="golden", name="source")


@pytest.fixture
def tmp_path():
    """Whoever we become may come here."""
    with public_folder() as folder:
        yield folder


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Stands for libvirt's own folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setattr(module, "LIBVIRT_IMAGES", folder)
    return folder


@pytest.fixture
def make(tmp_path):
    """State folders, without settings."""

    def state_of(name):
        state = StateFolder(tmp_path / name)
        state.prepare()
        return state

    return state_of


def spec(name="disk", storage_class=""):
    return VolumeSpec(namespace="golden", name=name, uid=f"uid-of-{name}", size=1 << 20, storage_class=storage_class)


def test_libvirts_folder_is_the_default_and_stays_ours(make, images):
    state = make("state")
    assert StorageFolders(state).of("") == (images, True)
    claim = json.loads((images / ".dataimportcron" / "owner.json").read_text())
    assert claim == {"machine": state.identity().machine, "state": str(state.path)}
    assert StorageFolders(state).of("") == (images, True)


def test_looking_claims_nothing(make, images):
    state = make("state")
    assert StorageFolders(state).all() == [state.path / "volumes"]
    assert list(images.iterdir()) == []


@pytest.mark.usefixtures("images")
def test_another_state_folder_keeps_its_volumes_inside(make):
    StorageFolders(make("first")).of("")
    second = make("second")
    assert StorageFolders(second).of("") == (second.path / "volumes", True)


@pytest.mark.parametrize("how", ["gone", "another", "unreadable claim"])
def test_a_stale_claim_is_taken_over(make, images, how):
    first = make("first")
    StorageFolders(first).of("")
    shutil.rmtree(first.path)
    if how == "another":
        make("first").identity()
    elif how == "unreadable claim":
        (images / ".dataimportcron" / "owner.json").write_text("{")
    second = make("second")
    assert StorageFolders(second).of("") == (images, True)


def test_a_claim_by_another_name_of_the_state_folder(make, images, tmp_path):
    state = make("state")
    StorageFolders(state).of("")
    (tmp_path / "link").symlink_to(state.path)
    assert StorageFolders(StateFolder(tmp_path / "link")).of("") == (images, True)
    moved = StateFolder(state.path.rename(tmp_path / "moved"))
    assert StorageFolders(moved).of("") == (images, True)
    shutil.copytree(moved.path, state.path)
    assert StorageFolders(StateFolder(tmp_path / "moved")).of("") == (moved.path / "volumes", True)


@pytest.mark.usefixtures("images")
async def test_volumes_are_found_after_another_default_was_set(make):
    state = make("state")
    await HostCloner(HostVolumes(state)).blank(spec())
    keep_volumes_inside(state)
    assert await HostVolumes(state).find("golden", "disk") is not None


def test_without_libvirt(make, images):
    images.rmdir()
    state = make("state")
    assert StorageFolders(state).of("") == (state.path / "volumes", True)


def test_a_folder_that_cannot_be_written(make, images):
    state = make("state")
    images.rmdir()
    with mounted("tmpfs", images, "-t", "tmpfs", "-o", "ro"):
        assert StorageFolders(state).of("") == (state.path / "volumes", True)


async def test_volumes_of_an_older_version_are_found_and_removed(make, images):
    state = make("state")
    keep_volumes_inside(state)
    await HostCloner(HostVolumes(state)).blank(spec("old"))
    (state.path / "settings.toml").unlink()
    volumes = HostVolumes(state)
    await HostCloner(volumes).blank(spec("new"))
    old, new = await volumes.find("golden", "old"), await volumes.find("golden", "new")
    assert old.location == str(state.path / "volumes" / "golden" / "old.img")
    assert new.location == str(images / "golden" / "new.img")
    await volumes.delete("golden", "old")
    assert await volumes.find("golden", "old") is None


async def test_libvirts_user_may_look_into_folders_that_we_make(make, images):
    volumes = HostVolumes(make("state"))
    before = os.umask(0o077)
    try:
        await HostCloner(volumes).blank(spec())
    finally:
        os.umask(before)
    found = images / "golden" / "disk.img"
    assert found.parent.stat().st_mode & 0o777 == 0o755
    assert found.stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("images")
async def test_a_folder_that_is_not_mounted(make, tmp_path):
    state = make("state")
    keep_volumes_inside(state, f'[storage_classes]\nfast = "{tmp_path}/nvme"\n')
    volumes = HostVolumes(state)
    cloner = HostCloner(volumes)
    with pytest.raises(StorageUnavailableError, match=rf"folder {tmp_path}/nvme of storage class fast") as raised:
        await cloner.blank(spec(storage_class="fast"))
    assert "mount it or make it" in raised.value.hint
    assert not (tmp_path / "nvme").exists()
    settings = state.path / "settings.toml"
    settings.write_text(f'default_folder = "{tmp_path}/away"\n')
    with pytest.raises(StorageUnavailableError, match=r"/away of the default storage class does not exist"):
        StorageFolders(state).ready("unknown-here")
    keep_volumes_inside(state, f'[storage_classes]\nfast = "{tmp_path}/nvme"\n')
    await cloner.blank(spec("elsewhere"))
    assert f"the folder {tmp_path}/nvme cannot be read" in await volumes.in_use("golden", "elsewhere")
    with mounted("tmpfs", tmp_path / "nvme", "-t", "tmpfs"):
        await cloner.blank(spec(storage_class="fast"))
        assert await volumes.find("golden", "disk") is not None
        assert await volumes.in_use("golden", "elsewhere") == ""
    await volumes.delete("golden", "elsewhere")
    assert await volumes.find("golden", "disk") is None


@pytest.mark.usefixtures("images")
async def test_a_full_folder(make, tmp_path):
    state = make("state")
    keep_volumes_inside(state, f'[storage_classes]\nfast = "{tmp_path}/nvme"\n')
    volumes = HostVolumes(state)
    cloner = HostCloner(volumes)
    await cloner.blank(spec("source"))
    volumes.place(spec("source")).file.write_bytes(os.urandom(1 << 20))
    with mounted("tmpfs", tmp_path / "nvme", "-t", "tmpfs", "-o", "size=512k"):
        with pytest.raises(NoSpaceError, match=r"golden/clone of 1048576 bytes.*No space left") as raised:
            await cloner.run(SOURCE, spec("clone", "fast"), lambda _: None)
        assert raised.value.hint == "free some; it is tried again"
        assert await volumes.find("golden", "clone") is None
        assert await volumes.find("golden", "source") is not None


@pytest.mark.usefixtures("images")
async def test_a_read_only_folder(make, tmp_path):
    state = make("state")
    keep_volumes_inside(state, f'[storage_classes]\nfast = "{tmp_path}/nvme"\n')
    said = pytest.raises(TargetNotWritableError, match=rf"at {tmp_path}/nvme/.*Read-only file system")
    with mounted("tmpfs", tmp_path / "nvme", "-t", "tmpfs", "-o", "ro"), said:
        await HostCloner(HostVolumes(state)).blank(spec(storage_class="fast"))


@pytest.mark.usefixtures("images")
async def test_a_folder_of_somebody_else(make, tmp_path):
    state = make("state")
    folder = tmp_path / "pool"
    folder.mkdir(mode=0o755)
    keep_volumes_inside(state, f'[storage_classes]\nfast = "{folder}"\n')
    volumes = HostVolumes(state)
    with denied(folder), pytest.raises(TargetNotWritableError, match=rf"volume golden/disk .* at {folder}") as raised:
        await HostCloner(volumes).blank(spec(storage_class="fast"))
    assert "belong to the user" in raised.value.hint
    await HostCloner(volumes).blank(spec(storage_class="fast"))


def test_where_overlays_may_be(make, images, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    state = make("state")
    folders = StorageFolders(state)
    assert folders.watched() == [images]
    session = tmp_path / "data" / "libvirt" / "images"
    session.mkdir(parents=True)
    assert folders.watched() == [images, session]
    keep_volumes_inside(state, 'overlay_folders = ["/vms"]\n[storage_classes]\nfast = "/nvme"\n')
    (state.path / "volumes").mkdir()
    assert folders.watched() == [Path("/nvme"), state.path / "volumes", Path("/vms"), images, session]
