"""Digest lookups as the worker makes them, against one bare keep-alive connection that sends the same HEAD requests.

Every lookup is of another repository, so that none is shared. The peer checks nothing, trusts no mirror file, speaks to
nobody else and reads one header: less cannot be done in Python.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Cost, middle, run
from dataimportcron.oci.manifest import ACCEPT
from demo.push import Image, disk_layer, push
from demo.registry import RunningRegistry, client, registry

_REPOSITORIES = 50
_LOOKUPS = 2000
_ROUNDS = 5
_CPU_BAR, _RATE_BAR = 6.0, 0.3


def main() -> None:
    """Print digests per second and CPU per digest of both."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        with registry(work / "registry", tls=False) as running:
            _fill(running, work)
            costs: dict[str, list[Cost]] = {"ours": [], "bare": []}
            for _ in range(_ROUNDS):
                for way, found in costs.items():
                    # Twice, with and without lookups, so that starting the process does not count.
                    idle, busy = (_run(way, running.host, work, lookups) for lookups in (0, _LOOKUPS))
                    found.append(
                        Cost(wall=busy.wall - idle.wall, cpu=busy.cpu - idle.cpu, memory=busy.memory, written=0)
                    )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    ours, bare = middle(costs["ours"]), middle(costs["bare"])
    print(f"{'':<8}{'digests/s':>12}{'CPU ms each':>14}")
    for way, cost in (("ours", ours), ("bare", bare)):
        print(f"{way:<8}{_LOOKUPS / cost.wall:>12.0f}{1000 * cost.cpu / _LOOKUPS:>14.2f}")
    cpu, rate = ours.cpu / bare.cpu, bare.wall / ours.wall
    print(f"CPU:bare  {cpu:.2f} {'<=' if cpu <= _CPU_BAR else '> '}{_CPU_BAR:.1f}")
    print(f"rate:bare {rate:.2f} {'>=' if rate >= _RATE_BAR else '< '}{_RATE_BAR:.1f}")


def _fill(running: RunningRegistry, work: Path) -> None:
    disk = work / "disk.img"
    disk.write_bytes(bytes(1 << 16))
    with client(running) as http_client:
        image = Image(layers=(disk_layer(disk, work),))
        for number in range(_REPOSITORIES):
            push(http_client, _name(number), "latest", image)


def _name(number: int) -> str:
    return f"bench/disk-{number % _REPOSITORIES}"


def _run(way: str, host: str, work: Path, lookups: int) -> Cost:
    return run([sys.executable, "-m", "benchmarks.polls", way, host, str(work / "state"), str(lookups)])


def _bare(host: str, lookups: int) -> None:
    connection = http.client.HTTPConnection(host)
    for number in range(lookups):
        connection.request("HEAD", f"/v2/{_name(number)}/manifests/latest", headers={"Accept": ACCEPT})
        response = connection.getresponse()
        response.read()
        if not response.headers["Docker-Content-Digest"].startswith("sha256:"):
            sys.exit("no digest")


async def _ours(host: str, folder: Path, lookups: int) -> None:
    from dataimportcron.host.access import HostAccess  # noqa: PLC0415 -- the peer does not need it
    from dataimportcron.host.source import HostSource  # noqa: PLC0415
    from dataimportcron.host.state.folder import StateFolder  # noqa: PLC0415
    from dataimportcron.host.state.store import Store  # noqa: PLC0415
    from dataimportcron.values import ImageSource  # noqa: PLC0415

    state = StateFolder(folder)
    state.prepare()
    (state.path / "settings.toml").write_text(f'insecure_registries = ["{host}"]\n')
    source = HostSource(HostAccess(Store(state), state), state)
    images = [
        ImageSource(namespace="bench", url=f"docker://{host}/{_name(number)}:latest") for number in range(lookups)
    ]
    await asyncio.gather(*(source.resolve(image, fresh=True) for image in images))
    source.close()


if __name__ == "__main__":
    way, host, folder, lookups = sys.argv[1:]
    if way == "ours":
        asyncio.run(_ours(host, Path(folder), int(lookups)))
    else:
        _bare(host, int(lookups))
