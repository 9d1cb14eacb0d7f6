"""The story on a cluster, one step a function: each does something by kubectl, checks what came of it, and tells it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from dataimportcron.importer.report import Progress, parse_line
from dataimportcron.naming import import_name
from demo.cluster.clones import Clones
from demo.cluster.installation import STANDALONE, Installation, condition
from demo.images import bootable_disk
from demo.push import delete_tag, push_disk
from demo.telling import Telling
from deploy.image.build import CHECKOUT

SAMPLES: Final = CHECKOUT / "deploy" / "samples"
NAMESPACE, CRON, DATA_SOURCE = "golden-images", "fedora-image-import-cron", "fedora"
REPOSITORY: Final = "kubevirt/fedora-cloud-registry-disk-demo"
CERT_CONFIG_MAP: Final = "some-certs"
_CDI_ANNOTATION: Final = "cdi.kubevirt.io/storage.import.nextCronTime"
BY_ANNOTATION: Final = "CDI's annotation"
BY_COMMAND: Final = "our command line"
"""Ways to force a poll."""
_OWN_ANNOTATION: Final = "dataimportcron.io/poll-requested-at"
SETTINGS: Final = "import_rate = 4_000_000\n"
"""An import by a pod takes some seconds: time for a person, and for kubectl, to come in its middle."""
_FIRST, _LATER = 240, 180
"""Seconds for an import: the first pulls our own image too."""


@dataclass(slots=True)
class Story(Telling):
    """What happens so far.

    Attributes:
        place: where it happens.
        client: of the registry.
        work: folder for disks and layers.
    """

    place: Installation
    client: httpx.Client
    work: Path
    _disks: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size and sha256 of the disk in each claim."""
    _versions: dict[str, str] = field(default_factory=dict)
    """What the image in each claim says of itself."""

    def evidence(self) -> str:
        """The ends of the workers' logs."""
        return self.place.logs()

    # -- steps -------------------------------------------------------------------------------------------------------

    def release(self, version: str, *, qcow2: bool = False) -> str:
        """Make a bootable disk and push it as `latest`; returns the name of the claim that shall hold it."""
        raw = self.work / f"{version}.raw"
        bootable_disk(raw, version)
        name = import_name(DATA_SOURCE, push_disk(self.client, REPOSITORY, raw, qcow2=qcow2))
        with raw.open("rb") as file:
            self._disks[name] = (raw.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
        self._versions[name] = version
        return name

    def first_import(self) -> None:
        """The documentation's YAML: not one character changed, but for apiVersion beside CDI."""
        name = self.release("1.0")
        self.place.cluster.apply(self._document())
        self._arrives(name, _FIRST)
        self.eventually("the cron is Ready and UpToDate", 60, self.is_fine)
        self._holds(name)
        self.say(f"first import, pulled by the node: {name} is complete, DataSource {DATA_SOURCE} points to it")

    def quiet_poll(self) -> None:
        """A poll that finds nothing new."""
        before = self.place.claims(NAMESPACE)
        told = self.place.dataimportcron("poll", CRON, "-n", NAMESPACE).stdout
        self.check("the poll says that nothing is new", "UpToDate" in told)
        self.check("no claim was made", self.place.claims(NAMESPACE) == before)
        self.say("poll without change: nothing is imported")

    def polls(self, *wanted: str) -> None:
        """A poll is forced in four ways, or in those that are wanted; each finds a new image."""
        ways: dict[str, Callable[[], object]] = {
            BY_ANNOTATION: lambda: self._annotate(_CDI_ANNOTATION, "2020-01-01T00:00:00Z"),
            "our annotation": lambda: self._annotate(_OWN_ANNOTATION, datetime.now(UTC).isoformat()),  # noqa: TID251 -- a person's clock
            "a signal by Temporal's command line": self._signal,
            BY_COMMAND: lambda: self.place.dataimportcron("poll", CRON, "-n", NAMESPACE, "--wait"),
        }
        for number, (what, ask) in enumerate(ways.items(), start=2):
            if wanted and what not in wanted:
                continue
            oldest = self._oldest()
            name = self.release(f"{number}.0", qcow2=number % 2 == 0)
            ask()
            self._arrives(name, _LATER)
            self.say(f"poll by {what}: {name}")
            if oldest:
                self.eventually(f"{oldest} is pruned", 90, lambda gone=oldest: gone not in self.place.claims(NAMESPACE))  # type: ignore[misc]
        self.check("two imports are kept", len(self.place.claims(NAMESPACE)) == 2)  # noqa: PLR2004 -- as the YAML says
        self._holds(name)
        self.say("the YAML keeps two imports; the older ones are gone")

    def disturbances(self) -> None:
        """In the middle of one import the API server is killed, the workers are, and then the import's pod."""
        name = self.release("6.0")
        self._pull_by_pod()
        self.place.dataimportcron("poll", CRON, "-n", NAMESPACE)
        pod = self._stop_in_its_middle(name)
        self.say(f"pullMethod is pod now; the importer in {pod} is stopped in its middle (SIGSTOP)")
        self.place.cluster.kill("kube-apiserver")
        self.eventually("the API server answers", 120, lambda: self.place.cluster.answers("get", "--raw", "/readyz"))
        told = self.place.dataimportcron("poll", CRON, "-n", NAMESPACE).stdout
        self.check(f"the poll says that {name} is being imported", name in told)
        statuses = [status for worker in self.place.workers() for status in worker["status"]["containerStatuses"]]
        self.check("no worker was restarted", not any(status["restartCount"] for status in statuses))
        self.say("kill -9 of the API server; polls go on")
        self.place.kubectl("rollout", "restart", "deployment/dataimportcron")
        self.place.wait_ready()
        self.say("a rollout of the workers")
        self.place.cluster.on_node("pkill", "-KILL", "-f", "dataimportcron worker")
        self.check("the import's pod is still the first", self._import_pods(name) == [pod])
        self.place.cluster.kubectl("delete", "pod", pod, "-n", NAMESPACE, "--now", "--wait=false")
        self.say("kill -9 of the workers, and of the importer with its pod")
        self._arrives(name, 240)
        self._holds(name)
        self.say(f"after all that {name} is right")

    def clones(self) -> None:
        """What may be made of the newest import; beside CDI that is CDI's."""
        if self.place.mode is STANDALONE:
            name = self.place.points_to(NAMESPACE, DATA_SOURCE)
            size, digest = self._disks[name]
            clones = Clones(self.place, self.work, self._versions[name], size, digest)
            self.checks += clones.tell()

    def wrong_tag(self) -> None:
        """The tag vanishes: said at once, and nothing is lost."""
        before = self.place.points_to(NAMESPACE, DATA_SOURCE)
        delete_tag(self.client, REPOSITORY, "latest")
        told = self.place.dataimportcron("poll", CRON, "-n", NAMESPACE, check=False)
        self.check("the poll fails", told.returncode == 1)
        self.check("the poll says why", "ImageNotFound" in told.stdout)
        self.check("the condition says so", condition(self._cron(), "UpToDate") == ("False", "ImageNotFound"))
        self.check("the DataSource stays", self.place.points_to(NAMESPACE, DATA_SOURCE) == before)
        self.say(f"the tag vanished: {told.stdout.splitlines()[0]}")

    def history(self) -> None:
        """What the cron remembers, and what kubectl shows."""
        print("\n" + self.place.dataimportcron("history", CRON, "-n", NAMESPACE).stdout)
        print(self.place.cluster.kubectl("get", f"{self.place.mode.crons},datasource,pvc", "-n", NAMESPACE))

    def deletion(self) -> None:
        """RetentionPolicy is All by default: the cron goes, its imports stay."""
        claims = self.place.claims(NAMESPACE)
        self.place.cluster.kubectl("delete", self.place.mode.crons, CRON, "-n", NAMESPACE)
        time.sleep(2)
        self.check("the claims stay", self.place.claims(NAMESPACE) == claims)
        self.check("the DataSource stays", self.place.points_to(NAMESPACE, DATA_SOURCE))
        self.say("deletion: the cron is gone, its imports and the DataSource stay")

    # -- looking -----------------------------------------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((SAMPLES / "fedora.yaml").read_text())
        return document | {"apiVersion": f"{self.place.mode.group}/v1beta1"}

    def _cron(self) -> dict[str, Any]:
        return self.place.cron(NAMESPACE, CRON)

    def is_fine(self) -> bool:
        """Whether the cron is Ready, and nothing newer is known."""
        found = self._cron()
        return condition(found, "UpToDate")[0] == "True" and condition(found, "Ready")[0] == "True"

    def _arrives(self, name: str, seconds: float) -> None:
        self.place.eventually_points_to(NAMESPACE, DATA_SOURCE, name, seconds)
        self.checks += 1

    def _holds(self, name: str) -> None:
        size, digest = self._disks[name]
        self.check(f"{name} has the disk's bytes", self.place.digest_of_disk(NAMESPACE, name, size) == digest)

    def _oldest(self) -> str:
        """The import that goes next, "" while there are fewer than are kept."""
        claims = [name for name in self._disks if name in self.place.claims(NAMESPACE)]
        return claims[0] if len(claims) > 1 else ""

    def _annotate(self, annotation: str, value: str) -> None:
        self.place.cluster.kubectl(
            "annotate", "--overwrite", self.place.mode.crons, CRON, "-n", NAMESPACE, f"{annotation}={value}"
        )

    def _signal(self) -> None:
        self.place.signal(f"{self.place.site}/dataimportcron/{NAMESPACE}/{CRON}", "poll")

    def _import_pods(self, name: str) -> list[str]:
        pods = self.place.cluster.get("pods", "-n", NAMESPACE)["items"]
        claimed = {
            pod["metadata"]["name"]: {
                (volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in pod["spec"]["volumes"]
            }
            for pod in pods
        }
        return [pod for pod, claims in claimed.items() if name in claims]

    def _pull_by_pod(self) -> None:
        """What the node is not asked for needs the registry's authority, from the ConfigMap that the YAML names."""
        certificates = {"ca.crt": self.place.cluster.registry_ca.read_text()}
        metadata = {"name": CERT_CONFIG_MAP, "namespace": NAMESPACE}
        self.place.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": certificates})
        patch = {"spec": {"template": {"spec": {"source": {"registry": {"pullMethod": "pod"}}}}}}
        self.place.cluster.kubectl(
            "patch", self.place.mode.crons, CRON, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch)
        )

    def _stop_in_its_middle(self, name: str) -> str:
        """Stop an import that has begun to write; returns its pod."""
        self.eventually("an importer that writes", 180, lambda: any(map(self._writes, self._import_pods(name))))
        self.place.cluster.on_node("pkill", "-STOP", "-f", "dataimportcron.importer")
        [pod] = self._import_pods(name)
        return pod

    def _writes(self, pod: str) -> bool:
        lines = [parse_line(line) for line in self.place.cluster.log(pod, NAMESPACE).splitlines()]
        return any(isinstance(line, Progress) and line.bytes_written for line in lines)
