"""`make demo-cluster`: the story on a cluster, without CDI and beside it; nothing is left behind unless KEEP=1."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from dataimportcron.errors import DataImportCronError
from demo.cluster.beside import playing_cdi
from demo.cluster.installation import BESIDE, STANDALONE, Installation, Mode, temporal
from demo.cluster.story import CRON, NAMESPACE, SETTINGS, Story
from demo.host import Disappointed
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster.full import Cluster, cluster
from tests.cluster.images import busybox


def main() -> int:
    """Run the demonstration; 0 if all of it came true."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    keep = os.environ.get("KEEP") == "1"
    modes = {mode.name: mode for mode in (STANDALONE, BESIDE)}
    chosen = [modes[name] for name in sys.argv[1:] or modes]
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-demo-"))
    started, checks = time.monotonic(), 0
    try:
        for mode in chosen:
            checks += _tell(mode, work / mode.name, keep=keep and mode is chosen[-1])
    except (Disappointed, DataImportCronError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    else:
        print(f"{checks} checks, all true, in {time.monotonic() - started:.0f} s")
        return 0
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _tell(mode: Mode, work: Path, *, keep: bool) -> int:
    """One mode, on a cluster of its own; returns how many checks were true."""
    work.mkdir(parents=True)
    image = build(CHECKOUT, cache(), fresh=False)
    with ExitStack() as stack:
        running = stack.enter_context(cluster())
        place = Installation(running, work, mode)
        ui = stack.enter_context(temporal(running, work))
        client = stack.enter_context(registry_client(running))
        story = Story(place, client, work)
        story.say(
            f"{mode.name}: Kubernetes at {running.url}, registry {running.registry}, Temporal {place.temporal}, UI {ui}"
        )
        archive = work / "busybox.tar"
        busybox(archive)
        running.push(archive, "busybox:1")
        if mode is BESIDE:
            stack.enter_context(playing_cdi(running))
        place.install(image, SETTINGS)
        story.say(f"installed by kustomize: overlay {mode.name}, two workers")
        for step in (
            story.first_import,
            story.quiet_poll,
            story.polls,
            story.clones,
            story.disturbances,
            story.wrong_tag,
            story.history,
        ):
            step()
        if keep:
            _look_around(place, ui)
        story.deletion()
        return story.checks


def registry_client(running: Cluster) -> httpx.Client:
    """A client of the cluster's registry."""
    trusted = ssl.create_default_context(cafile=str(running.registry_ca))
    return httpx.Client(base_url=f"https://{running.registry}", verify=trusted, trust_env=False, timeout=60)


def _look_around(place: Installation, ui: str) -> None:
    print(f"\nTemporal UI   {ui}\n")
    print(f"export KUBECONFIG={place.cluster.kubeconfig} TEMPORAL_ADDRESS={place.temporal}")
    print(f"kubectl get {place.mode.crons},datasource,pvc -n {NAMESPACE}")
    print(f"dataimportcron history {CRON} -n {NAMESPACE} --context admin")
    print("\nCtrl-C ends it.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
