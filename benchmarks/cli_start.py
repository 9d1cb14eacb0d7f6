"""What it costs to ask: CPU of `--help`, `get` and `describe` against a Python that does nothing, in turns.

`get` reads a state folder with a hundred crons, as the program does it on a host.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Cost, middle, run
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store

_ROUNDS = 15
_CRONS = 100
_BAR = 10.0
_NAMESPACE = "golden-images"


def main() -> None:
    """Print the CPU of each command and its ratio to the bare interpreter."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        _fill(work)
        commands = {
            "python -c pass": ["-c", "pass"],
            "--help": ["-m", "worker", "--help"],
            "get": ["-m", "worker", "get", "dic", "-n", _NAMESPACE],
            "describe": ["-m", "worker", "describe", "dic", "cron-0", "-n", _NAMESPACE],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        environment = {"DATAIMPORTCRON_STATE": str(work)}
        for _ in range(_ROUNDS):
            for name, arguments in commands.items():
                costs[name].append(run([sys.executable, *arguments], environment))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    cpu = {name: middle(found).cpu for name, found in costs.items()}
    bare = cpu["python -c pass"]
    print(f"{'':<16}{'CPU ms':>8}{'ratio':>8}")
    for name, seconds in cpu.items():
        bar = f"  {'<=' if seconds / bare <= _BAR else '> '}{_BAR:.0f}" if name in {"--help", "get"} else ""
        print(f"{name:<16}{1000 * seconds:>8.1f}{seconds / bare:>8.2f}{bar}")


def _fill(folder: Path) -> None:
    state = StateFolder(folder)
    state.prepare()
    store = Store(state)
    for number in range(_CRONS):
        registry = {"url": "docker://quay.io/kubevirt/fedora-cloud-registry-disk-demo:latest"}
        storage = {"resources": {"requests": {"storage": "5Gi"}}}
        store.apply(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataImportCron",
                "metadata": {"name": f"cron-{number}", "namespace": _NAMESPACE},
                "spec": {
                    "template": {"spec": {"source": {"registry": registry}, "storage": storage}},
                    "schedule": "30 1 * * 1",
                    "managedDataSource": f"source-{number}",
                },
            }
        )


if __name__ == "__main__":
    main()
