"""What an image is to the importer, whatever it comes from: layers with their digests, and an environment.

A source of images is an `ImageReader`. Refused here: bootable containers, which have a root file system where a
container disk has a disk, and configurations that do not say what each layer unpacks to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dataimportcron.errors import InvalidImageError
from dataimportcron.reference import is_digest

_LARGEST_ENVIRONMENT = 128 << 10
"""Bytes; Linux starts no program with a longer variable."""
_BOOTC_LABELS = ("containers.bootc", "ostree.bootable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: `digest` and `size` in bytes as it is stored, `diff_id` the digest of its tar."""

    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image of one platform.

    Attributes:
        digest: of what was asked for; of an index, where that is one.
        manifest_digest: of the platform's manifest.
        layers: lowest first.
        env: the environment of its configuration.
    """

    digest: str
    manifest_digest: str
    layers: tuple[Layer, ...]
    env: Mapping[str, str]


class ImageReader(Protocol):
    """Where an image comes from. `open` is called from another thread than `load`, never at the same time."""

    @property
    def digest(self) -> str:
        """Of the image, "" where only `load` can tell."""
        ...

    def load(self) -> Image:
        """Read manifest and configuration, verified against their digests.

        Raises:
            DataImportCronError: as the source has it; `InvalidImageError` for one that is no container disk.
        """
        ...

    def open(self, layer: Layer) -> Iterator[bytes]:
        """The bytes of a layer, as they are stored; not verified, the importer does that."""
        ...


def build_image(
    digest: str, manifest_digest: str, descriptors: Sequence[tuple[str, int]], config: Mapping[str, Any]
) -> Image:
    """Put an image together from its manifest and its configuration.

    Args:
        digest: of what was asked for.
        manifest_digest: of the platform's manifest.
        descriptors: digest and size of each layer, lowest first.
        config: the configuration, as JSON has it.

    Raises:
        InvalidImageError: see the module.
    """
    _refuse_bootc(config)
    diff_ids = _member(config, "rootfs").get("diff_ids")
    if not isinstance(diff_ids, list) or len(diff_ids) != len(descriptors):
        raise InvalidImageError(
            f"the image {digest} has {len(descriptors)} layers, expected as many diff_ids in its configuration"
        )
    layers = []
    for (layer_digest, size), diff_id in zip(descriptors, diff_ids, strict=True):
        if not isinstance(diff_id, str) or not is_digest(diff_id):
            raise InvalidImageError(f"the image {digest} has the diff_id {str(diff_id)[:100]!r}, expected a digest")
        layers.append(Layer(digest=layer_digest, size=size, diff_id=diff_id))
    environment = _environment(config)
    if (length := sum(len(name) + len(value) for name, value in environment.items())) > _LARGEST_ENVIRONMENT:
        raise InvalidImageError(
            f"the image {digest} has an environment of {length} characters, at most {_LARGEST_ENVIRONMENT} are read"
        )
    return Image(digest=digest, manifest_digest=manifest_digest, layers=tuple(layers), env=environment)


def _refuse_bootc(config: Mapping[str, Any]) -> None:
    labels = _member(_member(config, "config"), "Labels")
    for label in _BOOTC_LABELS:
        if str(labels.get(label, "")).lower() in ("1", "true"):
            raise InvalidImageError(
                f"the image is a bootable container (label {label}), expected a container disk",
                hint="turn it into a disk with bootc-image-builder and put that below /disk",
            )


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    entries = _member(config, "config").get("Env")
    pairs = [entry.partition("=") for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
    return {name: value for name, _, value in pairs if name}


def _member(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
