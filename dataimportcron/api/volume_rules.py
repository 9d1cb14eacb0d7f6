"""The rules for what a volume is and what fills it: a DataVolume's spec, and a cron's template (V-21, K-01, K-02).

They are those of CDI's webhook, in its words where it has some. What CDI admits although it can never work is refused
too: a reference that is none, a name that no object can have, credentials in a URL. Sources that this product does not
serve are as valid as those that it does; what becomes of them is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from dataimportcron.api.faults import Fault
from dataimportcron.api.metadata import name_faults, namespace_faults
from dataimportcron.api.node import Node
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.refusals import Refusal
from dataimportcron.errors import InvalidReferenceError
from dataimportcron.reference import Reference

ACCESS_MODES: Final = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Filesystem", "Block")
CONTENT_TYPES: Final = ("kubevirt", "archive")
PULL_METHODS: Final = ("pod", "node")
_MEBIBYTE: Final = 1 << 20
_DOCKER: Final = "docker://"
_OCI_ARCHIVE: Final = "oci-archive:"
_FILE: Final = "file://"
"""Of ours, for disks that lie on the host as they are; CDI's webhook refuses it."""
_URL_RULE: Final = f"{_DOCKER}registry/repository:tag, {_OCI_ARCHIVE}path or {_FILE}/path"
WITH_WEB_URL: Final = ("http", "s3", "imageio", "vddk")
REQUIRED_OF_SOURCES: Final = {
    "gcs": ("url",),
    "imageio": ("diskId", "secretRef"),
    "vddk": ("uuid", "backingFile", "thumbprint", "secretRef"),
}
"""What CDI's webhook wants of a source beside its URL."""


def data_volume_faults(spec: Node) -> Iterator[Fault]:
    """Faults of a DataVolume's spec."""
    source, reference = spec["source"], spec["sourceRef"]
    external = _externally_populated(spec)
    if external is not None and (source.present or reference.present):
        yield Fault(path=external.path, message=Refusal.EXTERNAL)
    elif external is None and source.present == reference.present:
        yield Fault(path=spec.path, message=Refusal.SOURCE_OR_REFERENCE, found="both" if source.present else "neither")
    if reference.present:
        yield from _reference_faults(reference)
    if source.present:
        yield from source_faults(source)
    yield from _content_type_faults(spec)
    yield from storage_faults(spec)


def _externally_populated(spec: Node) -> Node | None:
    """The dataSource or dataSourceRef by which something else fills the volume."""
    places = (spec[storage][name] for storage in ("pvc", "storage") for name in ("dataSource", "dataSourceRef"))
    return next((place for place in places if place.present), None)


def _reference_faults(reference: Node) -> Iterator[Fault]:
    """K-01."""
    kind, name = reference["kind"], reference["name"]
    if not kind.given:
        yield Fault(path=kind.path, message=Refusal.NO_REFERENCE_KIND, allowed="DataSource")
    elif kind.text not in {None, "DataSource"}:
        message = f"Unsupported sourceRef kind {kind.text}, {Refusal.REFERENCE_KIND}"
        yield Fault(path=kind.path, message=message)
    if not name.given:
        yield Fault(path=name.path, message=Refusal.NO_REFERENCE_NAME)
    yield from name_faults(name)
    yield from namespace_faults(reference["namespace"])


def _content_type_faults(spec: Node) -> Iterator[Fault]:
    content, source = spec["contentType"], spec["source"]
    if content.text and content.text not in CONTENT_TYPES:
        yield content.fault(Refusal.CONTENT_TYPE)
    elif content.text == "archive" and source["blank"].present:
        yield content.fault(Refusal.BLANK_ARCHIVE)
    elif content.text == "archive" and source["registry"].present:
        yield content.fault(Refusal.REGISTRY_ARCHIVE)


def source_faults(source: Node) -> Iterator[Fault]:
    """Exactly one member, and what that member needs."""
    members = source.members
    if len(members) != 1:
        message = Refusal.MANY_SOURCES if members else Refusal.NO_SOURCE
        found = ", ".join(name for name, _ in members)
        yield Fault(path=source.path, message=message, found=found, allowed="exactly one is needed")
    for name, member in members:
        if name == "registry":
            yield from _registry_faults(member)
        if name in {"pvc", "snapshot"}:
            yield from named_faults(member, ("namespace", "name"))
        if name in WITH_WEB_URL:
            yield from _web_url_faults(member["url"])
        yield from (member[key].missing() for key in REQUIRED_OF_SOURCES.get(name, ()) if not member[key].given)
        for key in ("secretRef", "certConfigMap"):
            yield from name_faults(member[key])


def named_faults(place: Node, required: tuple[str, ...]) -> Iterator[Fault]:
    """A `{namespace, name}` whose required members must be there, and which must be names."""
    yield from (place[key].missing() for key in required if not place[key].given)
    yield from name_faults(place["name"])
    yield from namespace_faults(place["namespace"])


def _web_url_faults(url: Node) -> Iterator[Fault]:
    if not url.given:
        yield Fault(path=url.path, message=Refusal.NO_WEB_URL)
    elif url.text is not None:
        try:
            parts = urlsplit(url.text)
        except ValueError:
            yield url.fault(Refusal.WEB_URL)
            return
        if parts.scheme not in {"http", "https"}:
            yield url.fault(Refusal.WEB_SCHEME, allowed="http or https")
        elif not parts.netloc:
            yield url.fault(Refusal.WEB_URL, allowed="it names no host")


def _registry_faults(registry: Node) -> Iterator[Fault]:
    """V-02, V-04 to V-06, V-10 to V-12."""
    url, stream, method = registry["url"], registry["imageStream"], registry["pullMethod"]
    if url.given == stream.given:
        yield Fault(path=registry.path, message=Refusal.URL_OR_STREAM, found="both" if url.given else "neither")
    if method.text and method.text not in PULL_METHODS:
        yield method.fault(f"ImportMethod {method.text} {Refusal.PULL_METHOD}")
    elif stream.given and (not method.given or method.value == "pod"):
        yield method.fault(Refusal.STREAM_NEEDS_NODE, allowed="pullMethod: node")
    if stream.text:
        yield from _image_stream_faults(stream)
    if url.text:
        yield from _registry_url_faults(url, url.text)


def _image_stream_faults(stream: Node) -> Iterator[Fault]:
    name, colon, tag = (stream.text or "").partition(":")
    illegal = ":" in tag or (colon and not tag) or not name
    if illegal or any(True for _ in name_faults(Node(value=name))):
        yield stream.fault(Refusal.STREAM_NAME, allowed="write name or name:tag")


def _registry_url_faults(url: Node, text: str) -> Iterator[Fault]:
    if text.startswith(_OCI_ARCHIVE):
        if text == _OCI_ARCHIVE:
            yield url.fault(Refusal.REGISTRY_URL, allowed="it names no file")
    elif text.startswith(_FILE):
        if not text.removeprefix(_FILE).startswith("/") or text.endswith("/"):
            yield url.fault(Refusal.REGISTRY_URL, allowed=f"write {_FILE}/path/of/a/disk")
    elif not text.startswith(_DOCKER):
        yield url.fault(Refusal.REGISTRY_SCHEME, allowed=f"write {_URL_RULE}")
    elif "@" in text.removeprefix(_DOCKER).partition("/")[0] and "/" in text.removeprefix(_DOCKER):
        yield url.fault(Refusal.REGISTRY_URL, allowed="put credentials into a Secret and name it in secretRef")
    else:
        try:
            Reference.parse(text)
        except InvalidReferenceError as error:
            _, _, reason = error.message.rpartition(" is no image reference: ")
            yield url.fault(Refusal.REGISTRY_URL, allowed=reason)


def storage_faults(spec: Node) -> Iterator[Fault]:
    """The part of V-21 that is about the volume itself: exactly one of `pvc` and `storage`, size, modes, class."""
    pvc, storage = spec["pvc"], spec["storage"]
    if not pvc.present and not storage.present:
        yield Fault(path=spec.path, message=Refusal.NO_STORAGE, allowed="write storage (or pvc)")
    if pvc.present and storage.present:
        yield Fault(path=spec.path, message=Refusal.TWO_STORAGES)
    if pvc.present:
        modes = pvc["accessModes"]
        if not modes.present or modes.value == []:
            yield Fault(path=modes.path, message=Refusal.NO_ACCESS_MODE)
        elif len(modes.items) > 1:
            found = f"{len(modes.items)} of them"
            yield Fault(path=modes.path, message=Refusal.MANY_ACCESS_MODES, found=found, allowed="pvc takes one")
        yield from _claim_faults(pvc, "PVC", sized=True)
    if storage.present:
        cloned = spec["sourceRef"].present or any(spec["source"][name].present for name in ("pvc", "snapshot"))
        yield from _claim_faults(storage, "Storage", sized=not cloned)
    account = spec["serviceAccountName"]
    if account.value == "":
        yield Fault(path=account.path, message=Refusal.EMPTY, allowed="leave it out, or write a name")
    yield from name_faults(account)
    yield from name_faults(spec["priorityClassName"])


def _claim_faults(claim: Node, what: str, *, sized: bool) -> Iterator[Fault]:
    for mode in claim["accessModes"].items:
        if mode.text is not None and mode.text not in ACCESS_MODES:
            yield mode.fault(Refusal.UNSUPPORTED, allowed=f"supported values are {', '.join(ACCESS_MODES)}")
    mode = claim["volumeMode"]
    if mode.text and mode.text not in VOLUME_MODES:
        yield mode.fault(Refusal.UNSUPPORTED, allowed=f"supported values are {', '.join(VOLUME_MODES)}")
    yield from name_faults(claim["storageClassName"], Refusal.STORAGE_CLASS_NAME)
    yield from name_faults(claim["volumeName"])
    resources = claim["resources"]
    size = resources["requests"]["storage"]
    if sized and not size.present:
        yield Fault(path=size.path, message=f"{what} {Refusal.NO_SIZE}", allowed="write a quantity such as 5Gi")
    for amounts in (resources["requests"], resources["limits"]):
        for _, amount in amounts.members:
            yield from _size_faults(amount, what if amount.path == size.path else "")


def _size_faults(amount: Node, what: str) -> Iterator[Fault]:
    """A quantity that is none; `what` names the volume whose size it is, empty for any other amount."""
    if isinstance(amount.value, bool) or not isinstance(amount.value, int | str):
        return
    try:
        size = parse_quantity(str(amount.value))
    except ValueError:
        yield amount.fault(Refusal.NO_QUANTITY, allowed="write a number with a suffix such as Mi, Gi, M or G")
        return
    if what and size <= 0:
        yield amount.fault(f"{what} {Refusal.NOT_POSITIVE}", allowed="1Mi or more")
    elif what and size < _MEBIBYTE:
        yield amount.fault(f"{what} {Refusal.TOO_SMALL}", allowed="1Mi or more")
