"""The other ways to the same disk, as scripts of Debian's tools; each ends with a durable, sparse, raw disk.

`by_hand` is what people do. `pipe` is the strongest that one can write for the same work: one pass as far as the tools
allow it, both digests checked, the quickest tool of Debian for each step (igzip, zstd, openssl, dd, qemu-img -W).
`floor` is what cannot be avoided, each part alone with nothing between: download, both digests, decompression, writing.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.images import Case

_BASH = ("bash", "-euo", "pipefail", "-c")


def by_hand(case: Case, reference: str, ca: Path | None, work: Path) -> list[str]:
    """What people do: skopeo copy, tar, qemu-img convert."""
    trust = f"--src-cert-dir {ca.parent}" if ca else "--src-tls-verify=false"
    layer = case.layer.blob.digest.partition(":")[2]
    return [
        *_BASH,
        f"""
        mkdir {work}/copied
        skopeo copy -q {trust} docker://{reference} dir:{work}/copied
        tar -xf {work}/copied/{layer} -C {work}/copied
        qemu-img convert -O raw {work}/copied/disk/* {work}/disk.img
        sync {work}/disk.img
        """,
    ]


def pipe(case: Case, url: str, ca: Path | None, work: Path) -> list[str]:
    """One pipe of curl, openssl, igzip or zstd and tar; then dd, or a scratch file and qemu-img."""
    unpack = "zstd -dcq" if case.zstd else "igzip -dc"
    if case.qcow2:
        end = f"cat >{work}/scratch && qemu-img convert -W -m 16 -O raw {work}/scratch {work}/disk.img"
    else:
        end = f"dd of={work}/disk.img conv=sparse bs=64k iflag=fullblock status=none"
    return [
        *_BASH,
        f"""
        mkfifo {work}/stored {work}/plain
        openssl dgst -sha256 -r <{work}/stored >{work}/digest & stored=$!
        openssl dgst -sha256 -r <{work}/plain >{work}/diff_id & plain=$!
        curl -fsS {_trust(ca)} {url} | tee {work}/stored | {unpack} | tee {work}/plain \\
            | tar -xOf - --wildcards 'disk/*' | {{ {end}; }}
        wait $stored $plain
        grep -q {case.layer.blob.digest.partition(":")[2]} {work}/digest
        grep -q {case.layer.diff_id.partition(":")[2]} {work}/diff_id
        sync {work}/disk.img
        """,
    ]


def floor(case: Case, url: str, ca: Path | None, work: Path, tar: Path) -> list[str]:
    """Download, two digests, decompression, writing; one after the other, from and to memory where that is possible.

    Args:
        case: the image.
        url: of its layer.
        ca: that is trusted.
        work: for the disk.
        tar: the layer, decompressed.
    """
    layer = case.layer.blob.path
    unpack = "zstd -dcq" if case.zstd else "igzip -dc"
    return [
        *_BASH,
        f"""
        curl -fsS {_trust(ca)} -o /dev/null {url}
        openssl dgst -sha256 {layer} {tar} >/dev/null
        {unpack} <{layer} >/dev/null
        dd if={tar} of={work}/disk.img bs=1M count={case.data} iflag=count_bytes conv=fsync status=none
        """,
    ]


def _trust(ca: Path | None) -> str:
    return f"--cacert {ca}" if ca else ""
