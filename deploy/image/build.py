"""One image from a checkout: what has changed is built, the rest is kept.

What is built lies in the cache folder (tools/setup.sh). A layer is kept by the hash of what it is made from and shared
by all checkouts; the archive is this checkout's, one at a time. Debian's packages have no versions in that hash: who
wants the newest asks for a fresh base.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.image import archive, debian, python, sbom
from deploy.image.layers import Layer

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What was built.

    Attributes:
        path: of the OCI archive.
        sbom: of the CycloneDX document.
        digest: of the manifest: what a registry calls the image after a push.
        about: what it says of itself.
        layers: lowest first.
    """

    path: Path
    sbom: Path
    digest: str
    about: archive.About
    layers: tuple[Layer, ...]


def cache() -> Path:
    """Where images and their layers are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataimportcron" / "image"


def build(checkout: Path, cache: Path, *, fresh: bool = False) -> Image:
    """Build the image of a checkout.

    Args:
        checkout: whose code.
        cache: what is built there is used again.
        fresh: make the base anew, with Debian's newest packages.

    Raises:
        MissingDependencyError: a tool is not installed.
        TransientError: a package could not be had.
    """
    revision, created = _commit(checkout)
    with _locked(cache):
        os.environ["SOURCE_DATE_EPOCH"] = str(created)
        base_key = _key(debian.SUITE, *debian.PACKAGES, debian.architecture(), *_recipe("debian", "layers"))
        base = _kept(cache / f"base-{base_key}", debian.build, fresh=fresh)
        root = base.path.parent / "root"
        pins = checkout / "deploy/requirements.txt"
        pins_key = _key(base.digest, pins.read_text(), *_recipe("python"))
        python_layer = _kept(
            cache / f"python-{pins_key}", lambda folder: python.dependencies(root, pins, folder), fresh=False
        )
        place = cache / f"checkout-{_key(str(checkout.resolve()))}"
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            wheel = python.build_wheel(checkout, Path(name))
            about = archive.About(
                version=wheel.name.split("-")[1],
                revision=revision,
                created=created,
                architecture=debian.architecture(),
                home=python.HOME,
            )
            layers = (base, python_layer, python.application(root, wheel, place))
            written = Path(name) / "dataimportcron.tar"
            digest = archive.write(written, layers, about)
            listed = Path(name) / "dataimportcron.cdx.json"
            sbom.write(listed, [component for layer in layers for component in layer.components], about, digest)
            for made in (listed, written):
                made.replace(place / made.name)
    return Image(path=place / written.name, sbom=place / listed.name, digest=digest, about=about, layers=layers)


def _kept(folder: Path, make: Callable[[Path], Layer], *, fresh: bool) -> Layer:
    """The layer in `folder`; made there where there is none, or none that will do."""
    kept = None if fresh else Layer.load(folder / "layer.tar.gz")
    if kept is not None:
        return kept
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    layer = make(folder)
    layer.save()
    return layer


def _commit(checkout: Path) -> tuple[str, int]:
    """The commit and its time; without git what SOURCE_DATE_EPOCH says."""
    git = ["git", "-C", str(checkout)]
    log = subprocess.run([*git, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    if log.returncode:
        return "", int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    # The commit alone, and whether there are changes beside it.
    describe = [*git, "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    revision = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    return revision, int(log.stdout)


def _recipe(*modules: str) -> Iterator[str]:
    """The modules that make a layer: when one changes, so may the layer."""
    for module in modules:
        yield Path(__file__).with_name(f"{module}.py").read_text()


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Two checkouts wait their turn."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
