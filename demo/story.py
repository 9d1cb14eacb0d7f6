"""The story, one step a function: each does something, checks what came of it, and tells it in a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.naming import import_name
from demo.boot import boot
from demo.host import Host
from demo.images import boot_line, bootable_disk
from demo.push import delete_tag, push_disk
from demo.telling import Telling

SAMPLES = Path(__file__).parent.parent / "deploy" / "samples"
NAMESPACE, CRON, DATA_SOURCE, CLONE = "golden-images", "fedora-image-import-cron", "fedora", "fedora-ref"
REPOSITORY = "kubevirt/fedora-cloud-registry-disk-demo"
PAYLOAD_MIB = 512
_BLOCK = 4 << 20


@dataclass(slots=True)
class Story(Telling):
    """What happens so far.

    Attributes:
        host: where it happens.
        client: of the registry.
        work: folder for disks and layers.
    """

    host: Host
    client: httpx.Client
    work: Path

    # -- steps -------------------------------------------------------------------------------------------------------

    def release(self, version: str, *, qcow2: bool = False, payload_mib: int = 0) -> tuple[str, Path]:
        """Make a bootable disk and push it as `latest`; returns its digest and the raw disk."""
        raw = self.work / f"{version}.raw"
        bootable_disk(raw, version, payload_mib=payload_mib)
        return push_disk(self.client, REPOSITORY, raw, qcow2=qcow2), raw

    def first_import(self) -> None:
        """The documentation's YAML, not one character changed."""
        digest, raw = self.release("1.0")
        self.host.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
        name = import_name(DATA_SOURCE, digest)
        self.eventually("the first import", 60, lambda: self._points_to(name))
        self.eventually("the cron says so", 10, lambda: self._up_to_date() == ("True", "UpToDate"))
        self.check("the volume has the disk's bytes", same_bytes(raw, self._file(name)))
        self.check("a volume is as large as requested", self._file(name).stat().st_size == 5 << 30)
        self.say(f"first import: {name} is complete, DataSource {DATA_SOURCE} points to it")

    def quiet_poll(self) -> None:
        """A poll that finds nothing new."""
        before = self.host.volumes(NAMESPACE)
        told = self.host.run("poll", CRON, "-n", NAMESPACE).stdout
        self.check("the poll says that nothing is new", "UpToDate" in told)
        self.check("no volume was made", self.host.volumes(NAMESPACE) == before)
        self.say("poll without change: nothing is imported")

    def second_import(self) -> None:
        """A new digest."""
        old = self.host.points_to(NAMESPACE, DATA_SOURCE)
        digest, raw = self.release("2.0", qcow2=True)
        name = import_name(DATA_SOURCE, digest)
        self._poll_until(name)
        self.check("the qcow2 became the raw disk", same_bytes(raw, self._file(name)))
        self.check("the old volume stays", self._file(old).exists())
        self.say(f"new digest: {name}, from a compressed qcow2; the DataSource moved, {old} is kept")

    def third_import(self) -> None:
        """The oldest of three goes, because the YAML keeps two."""
        oldest = min(self.host.volumes(NAMESPACE), key=lambda name: name != self._imported()[-1])
        digest, _ = self.release("3.0")
        name = import_name(DATA_SOURCE, digest)
        self._poll_until(name)
        self.eventually("two are kept", 20, lambda: len(self.host.volumes(NAMESPACE)) == 2)  # noqa: PLR2004 -- as said
        self.eventually("the oldest file is gone", 20, lambda: not self._file(oldest).exists())
        self.check("the newest is among them", name in self.host.volumes(NAMESPACE))
        self.say(f"third digest: {name}; {oldest} was pruned, two are kept")

    def clone(self) -> None:
        """The documentation's second YAML, and a machine that boots from what it makes."""
        source = self.host.points_to(NAMESPACE, DATA_SOURCE)
        self.host.run("apply", "-f", str(SAMPLES / "fedora-ref.yaml"))
        self.eventually("the clone", 60, lambda: self._phase(CLONE) == "Succeeded")
        self.check("the clone has the source's bytes", same_bytes(self._file(source), self._file(CLONE)))
        self.check("the clone boots", boot_line("3.0") in boot(self._file(CLONE), timeout=120))
        self.say(f'clone: {CLONE} equals {source}, and boots: "{boot_line("3.0")}"')

    def kills(self) -> None:
        """`kill -9` of the importer, the worker and the server, each in the middle of one large import."""
        self.say(f"making and pushing a disk with {PAYLOAD_MIB} MiB of data ...")
        digest, raw = self.release("4.0", payload_mib=PAYLOAD_MIB)
        name = import_name(DATA_SOURCE, digest)
        self.host.run("poll", CRON, "-n", NAMESPACE)
        for victim, words, starts_over in (
            ("importer", "dataimportcron.importer", True),
            ("worker", "worker worker", True),
            ("Temporal server", "server start-dev", False),
        ):
            progress = self._wait_for_middle(name)
            pid = self.host.kill(words)
            self.check("the volume is not there half-written", not self._file(name).exists())
            self.say(f"kill -9 of the {victim} (process {pid}) at {progress:.0f} % of a large import")
            if starts_over:
                self._wait_for_restart(name, progress)
        self.eventually("the large import", 150, lambda: self._points_to(name))
        self.check("the volume has the disk's bytes", same_bytes(raw, self._file(name)))
        self.check("the right disk boots", boot_line("4.0") in boot(self._file(name), timeout=120))
        self.say(f'after all that: {name} is right, and boots: "{boot_line("4.0")}"')

    def wrong_tag(self) -> None:
        """The tag vanishes: said at once, and nothing is lost."""
        before = self.host.points_to(NAMESPACE, DATA_SOURCE)
        delete_tag(self.client, REPOSITORY, "latest")
        told = self.host.run("poll", CRON, "-n", NAMESPACE, check=False)
        self.check("the poll fails", told.returncode == 1)
        self.check("the poll says why", "ImageNotFound" in told.stdout)
        self.check("the condition says so", self._up_to_date() == ("False", "ImageNotFound"))
        self.check("the DataSource stays", self.host.points_to(NAMESPACE, DATA_SOURCE) == before)
        self.say(f"the tag vanished: {told.stdout.splitlines()[0]}")

    def history(self) -> None:
        """What the cron remembers."""
        told = self.host.run("history", CRON, "-n", NAMESPACE).stdout
        self.check("four imports are in the history", told.count("Succeeded") == 4)  # noqa: PLR2004 -- as told above
        print("\n" + told)

    def deletion(self) -> None:
        """RetentionPolicy is All by default: the cron goes, its imports stay."""
        volumes = self.host.volumes(NAMESPACE)
        self.host.run("delete", "-f", str(SAMPLES / "fedora.yaml"))
        self.eventually("its end is done", 60, lambda: not list(self.host.state.deleted.glob("*.json")))
        self.check("the cron is gone", not self._exists())
        self.check("the volumes stay", self.host.volumes(NAMESPACE) == volumes)
        self.say("deletion: the cron is gone, its imports and the DataSource stay")

    # -- looking -----------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> Path:
        return self.host.file(NAMESPACE, name)

    def _points_to(self, name: str) -> bool:
        return self.host.points_to(NAMESPACE, DATA_SOURCE) == name

    def _phase(self, name: str) -> str:
        return self.host.volume(NAMESPACE, name).status.phase

    def _progress(self, name: str) -> float:
        volume = self.host.volume(NAMESPACE, name)
        text = volume.status.progress or ""
        return float(text.rstrip("%")) if text.endswith("%") else 0.0

    def _up_to_date(self) -> tuple[str, str]:
        conditions = self.host.cron(NAMESPACE, CRON).status.conditions
        return next(((c.status, c.reason) for c in conditions if c.type == "UpToDate"), ("", ""))

    def _imported(self) -> list[str]:
        """Names of the imports, newest first."""
        told = self.host.run("history", CRON, "-n", NAMESPACE, "-o", "json").stdout
        return [entry["dataVolume"] for entry in json.loads(told)["imports"]]

    def _poll_until(self, name: str) -> None:
        told = self.host.run("poll", CRON, "-n", NAMESPACE).stdout
        self.check("the poll finds the new digest", name in told)
        self.eventually(f"the import of {name}", 120, lambda: self._points_to(name))

    def _wait_for_middle(self, name: str) -> float:
        middle: list[float] = []

        def look() -> bool:
            middle.append(self._progress(name))
            return 30 <= middle[-1] <= 70  # noqa: PLR2004 -- the middle

        self.eventually("the middle of the import", 90, look)
        return middle[-1]

    def _wait_for_restart(self, name: str, before: float) -> None:
        self.eventually("the import starts over", 60, lambda: self._progress(name) < before)

    def _exists(self) -> bool:
        try:
            self.host.store.get(DataImportCron, NAMESPACE, CRON)
        except ObjectNotFoundError:
            return False
        return True


def trust(host: Host, ca: Path, work: Path) -> None:
    """Apply the ConfigMap that the YAML names, with the registry's CA."""
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "some-certs", "namespace": NAMESPACE},
        "data": {"ca.crt": ca.read_text()},
    }
    path = work / "some-certs.yaml"
    path.write_text(yaml.safe_dump(document))
    host.run("apply", "-f", str(path))


def same_bytes(image: Path, volume: Path) -> bool:
    """Whether a volume holds an image, and nothing but zeros after it. Holes are passed over, so 5 GiB take no time."""
    if image.stat().st_size > volume.stat().st_size:
        return False
    with image.open("rb") as wanted, volume.open("rb") as found:
        return all(
            os.pread(wanted.fileno(), length, at).ljust(length, b"\0") == os.pread(found.fileno(), length, at)
            for file in (wanted, found)
            for at, length in _data(file.fileno())
        )


def _data(descriptor: int) -> Iterator[tuple[int, int]]:
    """Offsets and lengths of all that is no hole."""
    at, end = 0, os.fstat(descriptor).st_size
    while at < end:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            return
        hole = os.lseek(descriptor, at, os.SEEK_HOLE)
        while at < hole:
            length = min(_BLOCK, hole - at)
            yield at, length
            at += length
