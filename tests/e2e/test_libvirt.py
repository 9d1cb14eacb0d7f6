"""Golden images and a real libvirt: pools, overlays that virt-install makes, and that none of them loses its base."""

from __future__ import annotations

import pwd
import subprocess

import pytest

from dataimportcron.naming import import_name
from demo.host import host, wait_for
from demo.images import boot_line, bootable_disk
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES, same_bytes, trust
from tests.support.libvirt import libvirt
from tests.support.storage import as_root, public_folder


@pytest.fixture
def work():
    """Libvirt's user may come here."""
    with public_folder() as folder:
        yield folder


@pytest.fixture
def images(work):
    """Where a person keeps the disks of virtual machines."""
    folder = work / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def home(work, images):
    with host(work / "state", f'overlay_folders = ["{images}"]\n') as prepared:
        yield prepared


@pytest.fixture
def release(home, tmp_path):
    """Push a bootable disk as `latest`; the name of its import, and the disk."""
    with registry(tmp_path / "registry") as running, client(running) as http:
        home.mirror("quay.io", running)
        trust(home, running.ca, tmp_path)

        def publish(version):
            disk = tmp_path / f"{version}.img"
            bootable_disk(disk, version)
            digest = push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, tmp_path),)))
            return import_name(DATA_SOURCE, digest), disk

        yield publish


def test_a_machine_boots_from_an_overlay_and_never_loses_its_base(home, release, images, tmp_path):
    first, disk = release("1")
    home.start()
    cron = tmp_path / "cron.yaml"
    text = (SAMPLES / "fedora.yaml").read_text()
    cron.write_text(text.replace("importsToKeep: 2", "importsToKeep: 1").replace("storage: 5Gi", "storage: 64Mi"))
    home.run("apply", "-f", str(cron))
    wait_for(first, 60, lambda: home.points_to(NAMESPACE, DATA_SOURCE) == first)
    golden = home.file(NAMESPACE, first)
    with libvirt() as daemon:
        daemon.virsh("pool-define-as", "golden", "dir", "--target", str(golden.parent))
        daemon.virsh("pool-start", "golden")
        assert _volumes(daemon) == {golden.name: str(golden)}
        _libvirts_user("test", "-r", str(golden))
        assert _boot(home, daemon, images) == boot_line("1")

        second, _ = release("2")
        assert "Outdated" in home.run("poll", CRON, "-n", NAMESPACE).stdout
        wait_for(second, 60, lambda: home.points_to(NAMESPACE, DATA_SOURCE) == second)
        overlay = images / "vm.qcow2"
        told = wait_for("it is said", 30, lambda: _said(home, "InUse"))
        assert f"Import {first} is kept: {overlay} has it as its backing file" in told
        daemon.virsh("pool-refresh", "golden")
        assert set(_volumes(daemon)) == {golden.name, home.file(NAMESPACE, second).name}
        assert same_bytes(disk, golden)
        refused = home.run("delete", "datavolume", first, "-n", NAMESPACE, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"{overlay} has it as its backing file" in refused.stderr
        daemon.virsh("start", "vm")
        wait_for("it boots again", 60, lambda: _serial(images).count(boot_line("1")) and _is_off(daemon))

        daemon.virsh("undefine", "vm")
        subprocess.run(as_root("rm", str(overlay)), check=True)
        assert "UpToDate" in home.run("poll", CRON, "-n", NAMESPACE).stdout
        wait_for("the old image goes", 30, lambda: not golden.exists())
        assert home.volumes(NAMESPACE) == [second]


def _boot(home, daemon, images):
    """Make a virtual machine as a person does, and wait until it has powered off; the line that it printed."""
    (images / "serial").touch()
    (images / "serial").chmod(0o666)
    base = home.run("path", DATA_SOURCE, "-n", NAMESPACE).stdout.strip()
    daemon.run(
        *("virt-install", "--virt-type", "qemu", "--name", "vm", "--memory", "256", "--import"),
        *("--disk", f"path={images}/vm.qcow2,size=20,backing_store={base},backing_format=raw,bus=virtio"),
        *("--osinfo", "detect=off,require=off", "--graphics", "none", "--network", "none"),
        *("--serial", f"file,path={images}/serial", "--events", "on_reboot=destroy", "--noautoconsole"),
    )
    wait_for("the machine powers off", 90, lambda: _is_off(daemon))
    # libvirt's disks are root's; who runs this may be somebody else, and then would know of none.
    subprocess.run(as_root("chmod", "0644", str(images / "vm.qcow2")), check=True)
    return next((line.strip() for line in _serial(images).splitlines() if "golden image" in line), "")


def _serial(images):
    return subprocess.run(as_root("cat", str(images / "serial")), check=True, capture_output=True).stdout.decode(
        errors="replace"
    )


def _is_off(daemon):
    return daemon.virsh("domstate", "vm").strip() == "shut off"


def _volumes(daemon):
    rows = daemon.virsh("vol-list", "golden").splitlines()[2:]
    return dict(row.split() for row in rows if row.strip())


def _said(home, reason):
    described = home.run("describe", "dataimportcron", CRON, "-n", NAMESPACE).stdout
    return described if reason in described else ""


def _libvirts_user(*command):
    """Run a command as the user that virtual machines run as."""
    user = pwd.getpwnam("libvirt-qemu")
    groups = ("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
    subprocess.run(as_root("setpriv", *groups, *command), check=True)
