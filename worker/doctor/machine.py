"""The programs that an installation is made of."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from dataimportcron.errors import MissingDependencyError
from dataimportcron.host.dev_server import program
from worker.doctor.finding import Finding, bad, failed, good, note


def check(*, embedded: bool) -> Iterator[Finding]:
    """Versions, and programs that are not Python's.

    Args:
        embedded: whether the Temporal server is ours to start.
    """
    yield check_program()
    if embedded:
        yield _temporal()
    yield _qemu_img()


def check_program() -> Finding:
    """Which program this is, and in which Python."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        return good("program", f"dataimportcron {version('dataimportcron')}, {python}")
    except PackageNotFoundError:
        return bad("program", f"dataimportcron is not installed, {python}", "install it as its README says")


def _temporal() -> Finding:
    try:
        return good("temporal", str(program()))
    except MissingDependencyError as error:
        return failed("temporal", error)


def _qemu_img() -> Finding:
    found = shutil.which("qemu-img")
    if found:
        return good("qemu-img", found)
    lacking = "images in vmdk, vdi, vhd, vhdx or qed cannot be imported, and no overlays made or copied"
    return note("qemu-img", f"not installed: {lacking}", "apt install qemu-utils")
