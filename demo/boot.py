"""Boots a raw disk in qemu and hands back what it said on the serial line: the last proof that an import is right.

It refuses to change the disk (a snapshot takes the writes), to give the guest a network, and to outlive its time.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from dataimportcron.errors import DataImportCronError, MissingDependencyError, TransientError

if TYPE_CHECKING:
    from pathlib import Path

_QEMU = "qemu-system-x86_64"
_TAIL = 1500


def boot(disk: Path, *, timeout: float) -> str:
    """Boots `disk` until the guest powers off or reboots, and returns the text of its serial line.

    Args:
        disk: a raw disk; it is only read.
        timeout: seconds. A quiet machine needs about 3, a busy one up to 30.

    Raises:
        MissingDependencyError: qemu is not installed, or there is no such disk.
        TransientError: the guest was still running after `timeout`; qemu was killed.
        DataImportCronError: qemu itself failed.
    """
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise MissingDependencyError(
            f"the program {_QEMU} is not installed",
            hint="apt-get install --no-install-recommends qemu-system-x86 seabios ipxe-qemu",
        )
    if not disk.is_file():
        raise MissingDependencyError(f"there is no disk {disk} to boot")
    with subprocess.Popen(
        _command(qemu, disk), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            serial, words = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            serial, words = process.communicate()
            raise TransientError(
                f"{disk} did not power off within {timeout:g} s; its serial line ends with {_text(serial)[-_TAIL:]!r},"
                f" qemu said {_text(words)[-_TAIL:]!r}",
                hint="an empty serial line means that the disk does not boot; else allow more time",
            ) from None
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise DataImportCronError(
            f"{_QEMU} ended with exit code {process.returncode} for {disk}, expected 0: {_text(words).strip()[-_TAIL:]}"
        )
    return _text(serial)


def _command(qemu: str, disk: Path) -> list[str]:
    # A comma ends an option's value unless doubled. Emulation alone, although KVM is a second faster: inside many
    # virtual machines /dev/kvm opens and then cannot run a BIOS ("KVM internal error"), and qemu stands still.
    file = str(disk.absolute()).replace(",", ",,")
    return [
        qemu,
        *("-machine", "pc,accel=tcg", "-m", "256", "-nic", "none", "-no-reboot"),
        *("-display", "none", "-monitor", "none", "-serial", "stdio"),
        *("-drive", f"file={file},format=raw,if=virtio,snapshot=on"),
    ]


def _text(serial: bytes) -> str:
    return serial.decode(errors="replace").replace("\r\n", "\n")
