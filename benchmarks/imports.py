"""An import against the other ways to the same disk, interleaved, from one registry; see `peers`.

Each disk is compared with the one that the image was made from. Printed are medians, and the ratios that count.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.images import Case, cases
from benchmarks.measure import MIB, Cost, cache, middle, run
from demo.push import Image, push
from demo.registry import RunningRegistry, client, registry

_ROUNDS = 3
_NAMES = ("ours", "by hand", "pipe", "floor")
_AS_INSTALLED = """
import sys
sys.modules["click"] = None
from dataimportcron.importer.__main__ import main
sys.exit(main())
"""
"""The program as users have it: httpx loads click and rich where it finds them, and the tests' tools bring them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """The largest ratios that are good enough: against what people do by hand, the pipe, and the floor."""

    hand_wall: float = 0.50
    hand_cpu: float = 0.45
    pipe_wall: float = 0.85
    pipe_cpu: float = 1.0
    floor_cpu: float | None = None


def main() -> None:
    """Run all cases over http, and one over TLS."""
    folder = cache()
    work = Path(tempfile.mkdtemp(prefix="work-", dir=_made(folder)))
    try:
        print(
            "seconds by the clock / of CPU; ratios of ours to each, the bar behind them\n"
            f"{'case':<24}{'ours':>14}{'by hand':>16}{'pipe':>14}{'floor CPU':>11}"
            f"{'wall:hand':>14}{'CPU:hand':>14}{'wall:pipe':>14}{'CPU:pipe':>14}{'CPU:floor':>14}"
            f"{'MiB RSS':>9}{'scratch MiB, ours/hand/pipe':>29}"
        )
        for case in cases(folder):
            with _served(case, work, tls=False) as (running, reference):
                _measure(case, case.name, running, reference, work)
            if case.name == "qcow2":
                with _served(case, work, tls=True) as (running, reference):
                    _measure(case, f"{case.name}, TLS", running, reference, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _served(case: Case, work: Path, *, tls: bool) -> Iterator[tuple[RunningRegistry, str]]:
    """A registry with the image, and the image's reference."""
    content = work / "registry"
    try:
        with registry(content, tls=tls) as running:
            with client(running) as http:
                digest = push(http, "bench/disk", "latest", Image(layers=(case.layer,)))
            yield running, f"{running.host}/bench/disk@{digest}"
    finally:
        shutil.rmtree(content, ignore_errors=True)


def _measure(case: Case, name: str, running: RunningRegistry, reference: str, work: Path) -> None:
    trusted = work / "trusted"
    trusted.mkdir(exist_ok=True)
    ca = Path(shutil.copy(running.ca, trusted)) if running.ca else None
    url = f"{running.url}/v2/bench/disk/blobs/{case.layer.blob.digest}"
    tar = work / "layer.tar"
    with tar.open("wb") as file:
        command = ["zstd", "-dcq"] if case.zstd else ["igzip", "-dc"]
        subprocess.run([*command, case.layer.blob.path], stdout=file, check=True)
    ways: dict[str, Callable[[Path], list[str]]] = {
        "ours": lambda folder: _ours(case, reference, ca, folder),
        "by hand": lambda folder: peers.by_hand(case, reference, ca, folder),
        "pipe": lambda folder: peers.pipe(case, url, ca, folder),
        "floor": lambda folder: peers.floor(case, url, ca, folder, tar),
    }
    costs: dict[str, list[Cost]] = {way: [] for way in _NAMES}
    for number in range(_ROUNDS):
        for way in _NAMES:
            folder = work / way.replace(" ", "-")
            folder.mkdir()
            costs[way].append(run(ways[way](folder)))
            if not number and way != "floor":
                run(["cmp", folder / "disk.img", case.raw])
            shutil.rmtree(folder)
    tar.unlink()
    _print(case, name, {way: middle(found) for way, found in costs.items()})


def _ours(case: Case, reference: str, ca: Path | None, folder: Path) -> list[str]:
    command = [sys.executable, "-c", _AS_INSTALLED, "--source", f"docker://{reference}"]
    command += ["--target", f"{folder}/disk.img", "--size", str(case.raw.stat().st_size)]
    host = reference.partition("/")[0]
    return command + (["--cert-dir", str(ca.parent)] if ca else ["--insecure-registry", host])


def _bars(case: Case) -> Bars:
    if case.zstd:
        return Bars(hand_cpu=0.70)
    if case.qcow2:
        return Bars(floor_cpu=1.5 if "-c" not in case.name else None)
    return Bars(hand_cpu=0.30, floor_cpu=1.5)


def _print(case: Case, name: str, costs: dict[str, Cost]) -> None:
    ours, hand, pipe, floor = (costs[way] for way in _NAMES)
    bars = _bars(case)
    cells = [f"{cost.wall:.2f} / {cost.cpu:.2f}" for cost in (ours, hand, pipe)]
    ratios = [
        _ratio(ours.wall / hand.wall, bars.hand_wall),
        _ratio(ours.cpu / hand.cpu, bars.hand_cpu),
        _ratio(ours.wall / pipe.wall, bars.pipe_wall),
        _ratio(ours.cpu / pipe.cpu, bars.pipe_cpu),
        _ratio(ours.cpu / floor.cpu, bars.floor_cpu),
    ]
    scratch = " / ".join(f"{max(cost.written - case.data, 0) / MIB:.0f}" for cost in (ours, hand, pipe))
    print(
        f"{name:<24}" + f"{cells[0]:>14}{cells[1]:>16}{cells[2]:>14}" + f"{floor.cpu:>11.2f}"
        + "".join(f"{ratio:>14}" for ratio in ratios)
        + f"{ours.memory / MIB:>9.0f}{scratch:>29}",
        flush=True,
    )  # fmt: skip


def _ratio(found: float, bar: float | None) -> str:
    """A ratio with its bar, marked where it is missed."""
    if bar is None:
        return f"{found:.2f}"
    return f"{found:.2f} {'<=' if found <= bar else '> '}{bar:.2f}"
