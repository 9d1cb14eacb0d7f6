"""Manifests, configurations and archives that lie; from a registry where that is how they come."""

from __future__ import annotations

import gzip
import json
from typing import Any

from tests.importer.hostile.case import (
    MIB,
    Case,
    archive,
    archive_bytes,
    good_tar,
    image,
    served,
)
from tests.importer.hostile.layers import member
from tests.support.fault_registry import Reply
from tests.support.layout import INDEX, sha256

GOOD = good_tar()
LAYER = {"digest": sha256(GOOD), "size": len(GOOD)}
CONFIG = json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": [sha256(GOOD)]}}).encode()
CONFIG_AT = f"blobs/{sha256(CONFIG)}"
MANIFEST = {"config": {"digest": sha256(CONFIG), "size": len(CONFIG)}, "layers": [LAYER]}
EMPTY_INDEX = b'{"manifests":[]}'
AMD64 = {"platform": {"architecture": "amd64", "os": "linux"}}
DEPTH = 50_000


def manifest(name: str, change: Any, says: str, reason: str = "NotARegistry", **more: Reply) -> Case:
    """A case of a manifest that a registry serves: what is changed in a good one, or its text."""
    text = json.dumps(MANIFEST | change) if isinstance(change, dict) else change
    return Case(name=f"manifest: {name}", source=served(text.encode(), **more), says=says, reason=reason)


def stored(name: str, change: Any, says: str, reason: str = "InvalidImage") -> Case:
    """A case of a manifest in an archive."""
    return Case(name=f"manifest: {name}", source=image((GOOD, GOOD), manifest=change), says=says, reason=reason)


def sized(size: Any) -> dict[str, Any]:
    return {"layers": [LAYER | {"size": size}]}


def digested(digest: Any) -> dict[str, Any]:
    return {"layers": [LAYER | {"digest": digest}]}


def config(name: str, change: Any, says: str, reason: str = "InvalidImage") -> Case:
    """A case of a configuration in an archive."""
    return Case(name=f"config: {name}", source=image((GOOD, GOOD), config=change), says=says, reason=reason)


def nested(depth: int, text: str = "") -> str:
    return "[" * depth + text + "]" * depth


MANIFESTS = [
    stored("layer size one less", sized(len(GOOD) - 1), "bytes, .* were expected|more", "DigestMismatch"),
    stored("layer size one more", sized(len(GOOD) + 1), "bytes, .* were expected", "DigestMismatch"),
    stored("layer size 0", sized(0), "0 were expected", "DigestMismatch"),
    stored("layer size 2^63 - 1", sized((1 << 63) - 1), "were expected", "DigestMismatch"),
    stored("layer size 2^63", sized(1 << 63), "valid digest and size"),
    stored("layer size negative", sized(-1), "valid digest and size"),
    stored("layer size a fraction", sized(2048.0), "valid digest and size"),
    stored("layer size a text", sized("2048"), "valid digest and size"),
    stored("layer size true", sized(True), "valid digest and size"),
    stored("layer size of 4000 digits", sized(10**4000), "valid digest and size"),
    stored("layer digest not hexadecimal", digested("sha256:" + "g" * 64), "valid digest and size"),
    stored("layer digest too short", digested("sha256:abcd"), "valid digest and size"),
    stored("layer digest by md5", digested("md5:" + "a" * 32), "valid digest and size"),
    stored("layer digest that is a path", digested("../../../etc/passwd"), "valid digest and size"),
    stored("layer digest of nothing", digested("sha512:" + "a" * 128), "lacks the blob"),
    stored("layer that is a number", {"layers": [1]}, "valid digest and size"),
    stored("no config", {"config": None}, "valid digest and size"),
    stored("config that is not there", {"config": {"digest": sha256(b"?"), "size": 1}}, "lacks the blob"),
    stored("config that is a layer", {"config": LAYER}, "no JSON"),
    stored("layers that are none", {"layers": {}}, "no list"),
    stored("no layers", {"layers": []}, "0 layers"),
    stored("a hundred thousand layers", {"layers": [1] * 100_000}, "no list"),
    stored("index and manifest at once", {"manifests": []}, "at once"),
    stored("schema 1", ["schemaVersion", 1], "no JSON object"),
    manifest("no JSON", "<html>", "no JSON"),
    manifest("deep JSON", nested(DEPTH), "no JSON"),
    manifest("deep JSON in a layer", f'{{"layers":[{nested(980)}],"config":{{}}}}', "valid digest and size"),
    Case(
        name="index: deep JSON in a platform",
        source=served(b'{"manifests":[{"platform":{"os":' + nested(970).encode() + b"}}]}", INDEX),
        says="no image found in image index",
        reason="PlatformNotFound",
    ),
    manifest("NaN", '{"layers":[],"config":NaN}', "no JSON|valid digest"),
    manifest("a number of 5000 digits", '{"layers":[],"config":' + "9" * 5000 + "}", "no JSON"),
    manifest("a key twice", json.dumps(MANIFEST)[:-1] + ', "layers": []}', "no JSON"),
    manifest("half of it", json.dumps(MANIFEST)[:-9], "no JSON"),
    manifest("more than 4 MiB", {"annotations": {"x": "y" * 4 * MIB}}, "more than 4194304 bytes"),
    manifest("config of more than 4 MiB", {"config": {"digest": sha256(CONFIG), "size": 5 * MIB}}, "more than any"),
    manifest(
        "config that is another",
        MANIFEST,
        "was expected",
        "DigestMismatch",
        **{CONFIG_AT: Reply(body=CONFIG.replace(b"amd64", b"arm64"))},
    ),
    manifest("index of itself", {"manifests": []}, "at once", "InvalidImage"),
    Case(
        name="index: for no platform",
        source=served(json.dumps({"manifests": [{"platform": None}, 1, None]}).encode(), INDEX),
        says="no image found in image index",
        reason="PlatformNotFound",
    ),
    Case(
        name="index: of thirty thousand platforms",
        source=served(
            json.dumps({"manifests": [{"platform": {"architecture": f"a{n}"}} for n in range(30_000)]}).encode(), INDEX
        ),
        says="no image found in image index",
        reason="PlatformNotFound",
    ),
    Case(
        name="index: of an index",
        source=served(
            json.dumps({"manifests": [{**AMD64, "digest": sha256(EMPTY_INDEX), "size": len(EMPTY_INDEX)}]}).encode(),
            INDEX,
            **{f"manifests/{sha256(EMPTY_INDEX)}": Reply(body=EMPTY_INDEX, headers={"Content-Type": INDEX})},
        ),
        says="no list of at most",
        reason="NotARegistry",
    ),
]  # fmt: skip

CONFIGS = [
    config("fewer diff_ids than layers", {"rootfs": {"diff_ids": []}}, "as many diff_ids"),
    config("more diff_ids than layers", {"rootfs": {"diff_ids": [sha256(GOOD)] * 2}}, "as many diff_ids"),
    config("no rootfs", {"rootfs": None}, "as many diff_ids"),
    config("diff_ids that are a text", {"rootfs": {"diff_ids": "x"}}, "as many diff_ids"),
    config("diff_id that is none", {"rootfs": {"diff_ids": ["sha256:x"]}}, "expected a digest"),
    config("diff_id that is deep", {"rootfs": {"diff_ids": [json.loads(nested(900))]}}, "expected a digest"),
    config("diff_id of another tar", {"rootfs": {"diff_ids": [sha256(b"")]}}, "diff_id", "DigestMismatch"),
    config("labels of a bootable container", {"config": {"Labels": {"containers.bootc": "1"}}}, "bootable container"),
    config("no JSON object", [], "no JSON object"),
    config("of more than 4 MiB", {"history": "x" * 4 * MIB}, "more than any"),
]


def renamed(files: dict[str, bytes], old: str, new: str) -> dict[str, bytes]:
    return {new if name == old else name: body for name, body in files.items()}


def flipped(files: dict[str, bytes]) -> dict[str, bytes]:
    """The manifest, which is the last blob, with one byte changed."""
    name = [name for name in files if name.startswith("blobs/")][-1]
    return files | {name: files[name].replace(b"2", b"3", 1)}


def archived(name: str, change: Any, says: str, reason: str = "InvalidImage") -> Case:
    """A case of an archive: what is changed in the files of a good one, or its bytes."""
    source = archive(change) if callable(change) else archive_bytes(change)
    return Case(name=f"archive: {name}", source=source, says=says, reason=reason)


ARCHIVES = [
    archived("no tar", b"\x7fELF" + bytes(2000), "none of a tar"),
    archived("nothing", b"", "no index.json"),
    archived("compressed", gzip.compress(GOOD), "truncated|none of a tar|no number"),
    archived("no index.json", lambda files: renamed(files, "index.json", "index.jsn"), "no index.json"),
    archived("index.json in a folder", lambda files: renamed(files, "index.json", "a/index.json"), "no index.json"),
    archived("index.json that is no JSON", lambda files: files | {"index.json": b"{"}, "no JSON"),
    archived("index.json that is deep", lambda files: files | {"index.json": nested(DEPTH).encode()}, "no JSON"),
    archived("index.json of more than 4 MiB", lambda files: files | {"index.json": bytes(5 * MIB)}, "more than any"),
    archived("index.json a link", member("index.json", b"2", linkname="/etc/shadow") + bytes(1024), "no index.json"),
    archived("index.json of 2^88 bytes", member("index.json")[:124] + b"\x80" + b"\xff" * 11 + bytes(376), "none of a"),
    archived("an image whose digest is a path", lambda files: files | {
        "index.json": b'{"manifests": [{"digest": "../../../etc/passwd"}]}'}, "without a valid digest"),
    archived("no image", lambda files: files | {"index.json": b"{}"}, "holds no image", "ImageNotFound"),
    archived("a blob that is another", flipped, "was expected", "DigestMismatch"),
    archived("blobs left out", lambda files: {"index.json": files["index.json"]}, "lacks the blob"),
    archived("cut off", member("blobs/sha256/" + "a" * 64, size=1 << 40) + bytes(512), "truncated"),
    archived("a hundred thousand entries", member("x") * 100_002 + bytes(1024), "more than 100000 entries"),
]  # fmt: skip

CASES = [*MANIFESTS, *CONFIGS, *ARCHIVES]
