"""The base layer: Debian's essential packages, Python and qemu-img, without apt, documentation and caches.

mmdebstrap makes it from Debian's own archive, as root or in a user namespace. The bytecode of Debian's Python is made
anew: it is to be valid by its content, because no file in the image has a time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from dataimportcron.errors import MissingDependencyError, PermanentError, TransientError
from deploy.image.layers import Component, Layer

SUITE = "bookworm"
"""What the tests run on. A newer one has another Python, and deploy/requirements.txt is pinned for one Python."""

PACKAGES = (
    "busybox-static",  # put into containers of images that have no programs (pullMethod: node)
    "ca-certificates",
    "python3",
    "qemu-utils",
    "tzdata",
    "usr-is-merged",  # instead of usrmerge, which needs all of Perl
)
USER = 107
"""uid and gid: those of qemu in KubeVirt's launcher, so that it can open what an importer wrote."""

_HOOKS = "/usr/share/mmdebstrap/hooks/maybe-merged-usr"
_NOT_NEEDED = (
    "dev/*",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc/*/[!c]*",  # all but `copyright`: licences stay
    "usr/share/doc/*/changelog*",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale/*",
    "usr/share/man",
    "usr/share/zoneinfo/right",
    "var/cache/*",
    "var/lib/apt",
    "var/lib/dpkg/*-old",
    "var/log/*",
)


def build(folder: Path) -> Layer:
    """Make the layer in `folder`, and its files in `folder/root`, where later layers are compiled.

    Raises:
        MissingDependencyError: mmdebstrap is not installed.
        TransientError: Debian's archive could not be read.
    """
    tar, root = folder / "debian.tar", folder / "root"
    _bootstrap(tar)
    with tarfile.open(tar) as archive:
        # Devices cannot be made without root, and are not wanted.
        members = [member for member in archive if not member.isdev()]
        # As an attribute: Debian 12's own Python knows no such argument yet.
        archive.extraction_filter = lambda member, _: member
        archive.extractall(root, members)  # noqa: S202 -- Debian's, made a moment ago
    tar.unlink()
    for pattern in _NOT_NEEDED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, line in {
        "passwd": f"dataimportcron:x:{USER}:{USER}::/tmp:/usr/sbin/nologin",
        "group": f"qemu:x:{USER}:",
    }.items():
        with (root / "etc" / name).open("a") as file:
            file.write(f"{line}\n")
    for cache in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(cache)
    compile_python(root, *(f"/{path.relative_to(root)}" for path in sorted(root.glob("usr/lib/python3*"))))
    return Layer.pack(root, folder / "layer.tar.gz", tuple(_packages(root)))


def python_version(root: Path) -> str:
    """Of Debian's Python, such as 3.11."""
    return (root / "usr/bin/python3").readlink().name.removeprefix("python")


def compile_python(root: Path, *folders: str, strip: str = "/") -> None:
    """Compile all modules below `folders` by the image's own Python.

    Args:
        root: of the image's files.
        folders: as they are seen from within `root`.
        strip: what to leave out at the beginning of the paths that tracebacks show.
    """
    # The same seed gives the same order in sets, and so the same bytes.
    command = ["/usr/bin/env", "-i", "PYTHONHASHSEED=0", "/usr/bin/python3", "-m", "compileall", "-q", "-f"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", strip, "-p", "/", *folders]
    _run(_inside(root, command), f"Python modules in {' '.join(folders)} could not be compiled", PermanentError)


def architecture() -> str:
    """This machine's, as both Debian and the OCI name it: amd64, arm64, ..."""
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607 -- Debian's own


def _bootstrap(tar: Path) -> None:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise MissingDependencyError("The program mmdebstrap is not installed", hint="apt-get install mmdebstrap")
    command = [program, "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}"]
    command += [f"--hook-dir={_HOOKS}", SUITE, str(tar)]
    _run(command, f"Debian {SUITE} could not be installed", TransientError)


def _inside(root: Path, command: list[str]) -> list[str]:
    """A command with another root folder; without root's rights in a user namespace."""
    if os.geteuid() == 0:
        return ["chroot", str(root), *command]
    return ["unshare", "--map-root-user", "--root", str(root), *command]


def _run(command: list[str], failure: str, error: type[PermanentError | TransientError]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise error(f"{failure}: {command[0]} ended with status {done.returncode}", hint="its words are above")


def _packages(root: Path) -> list[Component]:
    """What dpkg has on record."""
    paragraphs = (root / "var/lib/dpkg/status").read_text().strip().split("\n\n")
    found = []
    for paragraph in paragraphs:
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        found.append(
            Component(
                kind="deb", name=fields["Package"], version=fields["Version"], architecture=fields["Architecture"]
            )
        )
    return sorted(found, key=lambda component: component.name)
