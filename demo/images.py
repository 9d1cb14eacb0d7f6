"""Makes small bootable Linux disks, so that the demo and the tests import something that proves itself by booting.

A disk is one FAT file system with syslinux, Debian's cloud kernel and an initramfs of one static busybox. It boots in
seconds, prints `golden image VERSION is up` on the serial line and powers off. Making one needs no root, no mount and
no loop device; the same version and size always give the same bytes, hence the same digest.

It refuses to download: `tools/setup.sh` puts kernel and busybox into the cache folder beforehand.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from dataimportcron.errors import DataImportCronError, MissingDependencyError, PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MIB: Final = 1024 * 1024
MAX_PAYLOAD_MIB: Final = 4095
"""FAT keeps a file's size in 32 bits."""

_SYSTEM_MIB: Final = 64
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")
_EPOCH: Final = 1_577_836_800
"""2020-01-01: FAT knows no time before 1980, and a fixed one makes equal disks equal."""

_PACKAGES: Final = {
    "cpio": "cpio",
    "mcopy": "mtools",
    "mkfs.fat": "dosfstools",
    "qemu-img": "qemu-utils",
    "syslinux": "syslinux",
}

_INIT: Final = """#!/bin/busybox sh
/bin/busybox echo "{line}"
/bin/busybox poweroff -f
"""

_SYSLINUX: Final = """SERIAL 0
DEFAULT golden
LABEL golden
KERNEL vmlinuz
INITRD initrd
APPEND console=ttyS0 quiet panic=-1
"""


def boot_line(version: str) -> str:
    """The line that a disk of `version` prints on its serial console once it is up."""
    return f"golden image {version} is up"


def cache_folder() -> Path:
    """Where `tools/setup.sh` keeps what it downloads: `${XDG_CACHE_HOME:-~/.cache}/dataimportcron`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataimportcron"


def bootable_disk(path: Path, version: str, *, payload_mib: int = 0) -> None:
    """Writes a bootable raw disk to `path`, replacing what is there; on failure `path` is left as it was.

    Args:
        path: the file to write, sparse; its folder exists.
        version: what the disk says of itself: letters, digits and `._+-`, at most 63.
        payload_mib: MiB of incompressible data beside the system, a pure function of `version`. The disk is 64 MiB
            and the payload.

    Raises:
        PermanentError: `version` or `payload_mib` is out of bounds.
        MissingDependencyError: a program, the kernel or busybox is not there.
        DataImportCronError: one of the programs failed.
    """
    if not _VERSION.fullmatch(version):
        raise PermanentError(
            f"the version {version!r} cannot be put on a disk",
            hint="use 1 to 63 letters, digits and ._+-, beginning with a letter or digit",
        )
    if not 0 <= payload_mib <= MAX_PAYLOAD_MIB:
        raise PermanentError(f"a payload has 0 to {MAX_PAYLOAD_MIB} MiB, found {payload_mib}")
    kernel, busybox = _boot_file("vmlinuz"), _boot_file("busybox")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        disk, files = Path(folder, "disk"), Path(folder, "files")
        files.mkdir()
        shutil.copyfile(kernel, files / "vmlinuz")
        (files / "initrd").write_bytes(_initramfs(Path(folder, "root"), busybox, version))
        (files / "syslinux.cfg").write_text(_SYSLINUX, encoding="ascii")
        _format(disk, mib=_SYSTEM_MIB + payload_mib)
        _copy_in(disk, sorted(files.iterdir()))
        if payload_mib:
            _run(["mcopy", "-i", str(disk), "-", "::payload.bin"], feed=_payload(version, payload_mib))
        disk.replace(path)


def to_qcow2(raw: Path, target: Path, *, compressed: bool = False) -> None:
    """Converts a raw disk to qcow2 version 3; `compressed` as distributions ship theirs.

    Raises:
        MissingDependencyError: qemu-img is not installed.
        DataImportCronError: qemu-img failed.
    """
    flags = ["-c"] if compressed else []
    _run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *flags, str(raw), str(target)])


def _format(disk: Path, *, mib: int) -> None:
    with disk.open("wb") as file:
        file.truncate(mib * MIB)
    _run(["mkfs.fat", "--invariant", "-n", "GOLDEN", str(disk)])
    _run(["syslinux", "--install", str(disk)])


def _initramfs(root: Path, busybox: Path, version: str) -> bytes:
    """The newc archive of /init and /bin/busybox, uncompressed: the kernel takes it so, and equal trees stay equal."""
    (root / "bin").mkdir(parents=True)
    shutil.copyfile(busybox, root / "bin/busybox")
    (root / "init").write_text(_INIT.format(line=boot_line(version)), encoding="ascii")
    names = ["bin", "bin/busybox", "init"]
    for name in names:
        (root / name).chmod(0o755)
        os.utime(root / name, (_EPOCH, _EPOCH))
    command = ["cpio", "--create", "--format=newc", "--reproducible", "--owner=+0:+0", "--quiet"]
    return _run(command, feed=["\n".join(names).encode()], folder=root)


def _copy_in(disk: Path, files: Iterable[Path]) -> None:
    _run(["mcopy", "-i", str(disk), *map(str, files), "::"])


def _payload(version: str, mib: int) -> Iterator[bytes]:
    """AES-CTR's key stream: as incompressible as random bytes, reproducible, and faster than the disk."""
    key = hashlib.sha256(f"payload of {version}".encode()).digest()
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(MIB)
    for _ in range(mib):
        yield stream.update(zeros)


def _boot_file(name: str) -> Path:
    path = cache_folder() / "boot" / name
    if not path.is_file():
        raise MissingDependencyError(f"{path} is missing: disks are made of it", hint="run: tools/setup.sh demo")
    return path


def _program(name: str) -> str:
    # Debian keeps mkfs in /usr/sbin, which is not in the PATH of people.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        package = _PACKAGES[name]
        raise MissingDependencyError(
            f"the program {name} is not installed", hint=f"apt-get install --no-install-recommends {package}"
        )
    return found


def _environment() -> Mapping[str, str]:
    # SOURCE_DATE_EPOCH is mtools' fixed clock (syslinux writes by mtools too). mtools keeps times in local time.
    return {**os.environ, "LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": str(_EPOCH)}


def _run(command: list[str], *, feed: Iterable[bytes] = (), folder: Path | None = None) -> bytes:
    """Runs `command` with `feed` as its standard input and returns its standard output (small: it is held whole)."""
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        subprocess.Popen(
            [_program(command[0]), *command[1:]],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=_environment(),
        ) as process,
    ):
        # A program that ends early breaks the pipe; its exit code and words below say why.
        with suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as stdin:
            for piece in feed:
                stdin.write(piece)
        code = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        if code != 0:
            words = stderr.read().decode(errors="replace").strip()
            raise DataImportCronError(f"{' '.join(command)}: exit code {code}, expected 0: {words[-2000:]}")
        return stdout.read()
