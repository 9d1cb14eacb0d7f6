"""An import against what people do by hand: skopeo copy, tar, qemu-img convert; from one registry, interleaved.

Both end with a raw, durable disk of the same bytes, which is checked. Printed are medians and their ratios.
"""

from __future__ import annotations

import filecmp
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic

from demo.push import Image, disk_layer, push
from demo.registry import RunningRegistry, client, registry

_MIB = 1 << 20
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds by the clock and of the CPU, and bytes of scratch."""

    wall: float
    cpu: float
    scratch: int


def main() -> int:
    """Run all cases; 0 if all disks are right."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        with registry(work / "registry", tls=False) as running:
            (work / "certs.d" / "_default").mkdir(parents=True)
            hosts = f'server = "{running.url}"\n[host."{running.url}"]\n'
            (work / "certs.d" / "_default" / "hosts.toml").write_text(hosts)
            print(
                f"{'case':<14}{'ours wall/CPU s':>18}{'by hand wall/CPU s':>21}{'wall':>7}{'CPU':>7}{'scratch MiB':>14}"
            )
            for name, options in (("raw", None), ("qcow2", []), ("qcow2 -c", ["-c"])):
                _case(name, options, running, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def _case(name: str, options: list[str] | None, running: RunningRegistry, work: Path) -> None:
    folder = work / name.replace(" ", "")
    folder.mkdir()
    raw = folder / "raw.img"
    with raw.open("wb") as file:
        for _ in range(128):
            file.write(os.urandom(_MIB))
            file.seek(_MIB, os.SEEK_CUR)
        file.truncate(384 * _MIB)
    disk = raw
    if options is not None:
        disk = folder / "disk.qcow2"
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", *options, raw, disk], check=True)
    with client(running) as http:
        digest = push(http, f"bench/{folder.name}", "latest", Image(layers=(disk_layer(disk, folder),)))
    reference = f"{running.host}/bench/{folder.name}@{digest}"
    ours, by_hand = [], []
    for _ in range(_ROUNDS):
        ours.append(_measure(lambda: _ours(reference, raw, work, folder)))
        by_hand.append(_measure(lambda: _by_hand(reference, raw, folder)))
    wall, cpu, peer_wall, peer_cpu = (
        median(getattr(cost, figure) for cost in costs) for costs in (ours, by_hand) for figure in ("wall", "cpu")
    )
    scratch = f"{ours[0].scratch / _MIB:.0f} / {by_hand[0].scratch / _MIB:.0f}"
    mine, theirs = f"{wall:.2f} / {cpu:.2f}", f"{peer_wall:.2f} / {peer_cpu:.2f}"
    print(f"{name:<14}{mine:>18}{theirs:>21}{wall / peer_wall:>7.2f}{cpu / peer_cpu:>7.2f}{scratch:>14}", flush=True)


def _measure(work: Callable[[], int]) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), monotonic()
    scratch = work()
    wall, after = monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall=wall, cpu=cpu, scratch=scratch)


def _ours(reference: str, raw: Path, work: Path, folder: Path) -> int:
    target = folder / "ours.img"
    command = [sys.executable, "-m", "dataimportcron.importer", "--source", f"docker://{reference}"]
    command += ["--target", str(target), "--size", str(raw.stat().st_size), "--mirrors", str(work / "certs.d")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    if json.loads(done.stdout.splitlines()[-1])["phase"] != "Succeeded":
        raise SystemExit(done.stdout)
    _same(target, raw)
    target.with_name("ours.img.complete").unlink()
    target.unlink()
    return 0


def _by_hand(reference: str, raw: Path, folder: Path) -> int:
    copied, target = folder / "copied", folder / "theirs.img"
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{reference}", f"dir:{copied}"], check=True
    )
    layer = max(copied.iterdir(), key=lambda path: path.stat().st_size)
    subprocess.run(["tar", "-xf", layer, "-C", copied], check=True)
    (disk,) = (copied / "disk").iterdir()
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, target], check=True)
    subprocess.run(["sync", target], check=True)
    scratch = sum(path.stat().st_blocks * 512 for path in copied.rglob("*"))
    _same(target, raw)
    shutil.rmtree(copied)
    target.unlink()
    return scratch


def _same(found: Path, wanted: Path) -> None:
    if not filecmp.cmp(found, wanted, shallow=False):
        raise SystemExit(f"{found} is not {wanted}")


if __name__ == "__main__":
    sys.exit(main())
