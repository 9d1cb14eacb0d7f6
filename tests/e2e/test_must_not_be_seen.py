"""What users of CDI see and must not see here, one test each; the numbers are those of the list of measurements.

A real registry, a real host in this process (worker, binding, importer processes) and Temporal's own server. Number 3,
causes that stand in logs of short-lived pods alone, is met by each test that reads `describe`; number 7, importers that
wait for a scratch volume, cannot be here, for there is none.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.state.records import stamp_of
from dataimportcron.messages import PollResult
from dataimportcron.naming import import_name
from demo.push import Image, delete_tag, disk_layer, layer, push
from demo.registry import client, registry
from tests.support.real_host import NAMESPACE, RealHost
from tests.support.temporal import dev_server, eventually
from worker.cli import main
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow

SITE, NAME, REPOSITORY = "seen", "fedora", "kubevirt/fedora"
MIB = 2**20


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry") / "registry") as running:
        yield running


@pytest.fixture
def http(served):
    with client(served) as opened:
        yield opened


class Seen:
    """A host with one cron, and the places where a person looks."""

    def __init__(self, host: RealHost, temporal, served, http, folder: Path) -> None:
        self.host, self.temporal, self.served, self.http, self.folder = host, temporal, served, http, folder

    @property
    def store(self):
        return self.host.home.store

    def release(self, content: bytes, tag: str = "latest") -> str:
        disk = self.folder / "disk.img"
        disk.write_bytes(content)
        return push(self.http, REPOSITORY, tag, Image(layers=(disk_layer(disk, self.folder),)))

    def certificates(self, name: str = "certs") -> None:
        data = {"ca.crt": self.served.ca.read_text()}
        metadata = {"name": name, "namespace": NAMESPACE}
        self.store.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def apply(self, *, url: str = "", certs: str = "certs", **spec: Any) -> None:
        registry = {"url": url or f"docker://{self.served.host}/{REPOSITORY}:latest", "certConfigMap": certs}
        storage = {"resources": {"requests": {"storage": "1Mi"}}}
        template = {"spec": {"source": {"registry": registry}, "storage": storage}}
        self.host.apply(NAME, template=template, **{"schedule": "0 0 1 1 *", **spec})

    def cron(self) -> DataImportCron:
        return self.store.get(DataImportCron, NAMESPACE, NAME)

    def condition(self, wanted: str) -> tuple[str, str, str]:
        found = (c for c in self.cron().status.conditions if c.type == wanted)
        return next(((c.status, c.reason, c.message) for c in found), ("", "", ""))

    def reason(self) -> str:
        return self.condition("UpToDate")[1]

    def ready(self) -> str:
        try:
            conditions = self.store.get(DataSource, NAMESPACE, NAME).status.conditions
        except ObjectNotFoundError:
            return ""
        return next((c.status for c in conditions if c.type == "Ready"), "")

    def events(self, kind=DataImportCron, name: str = NAME) -> list[tuple[str, str, str]]:
        return [(e["type"], e["reason"], e["message"]) for e in self.store.record(kind, NAMESPACE, name).events]

    def describe(self, capsys) -> str:
        capsys.readouterr()
        state = str(self.host.state.path)
        assert main(["describe", "dic", NAME, "-n", NAMESPACE, "--state", state]) == 0
        return capsys.readouterr().out

    def blob(self, digest: str) -> Path:
        plain = digest.removeprefix("sha256:")
        blobs = self.served.ca.parent / "content/docker/registry/v2/blobs/sha256"
        return blobs / plain[:2] / plain / "data"

    async def poll(self) -> PollResult:
        handle = self.temporal.get_workflow_handle(naming.cron_workflow_id(SITE, NAMESPACE, NAME))
        return await handle.execute_update(DataImportCronWorkflow.poll_now, "seen")

    async def up_to_date(self) -> None:
        await eventually(lambda: self.condition("UpToDate")[0] == "True", 40)


@pytest.fixture
async def seen(tmp_path, served, http) -> AsyncIterator[Seen]:
    async with _seen(tmp_path, served, http) as found:
        yield found


@asynccontextmanager
async def _seen(tmp_path, served, http):
    host = RealHost(tmp_path)
    async with dev_server() as env:
        first, second = workers(env.client, host.home, site=SITE)
        async with first, second:
            binding = asyncio.create_task(host.home.bind(env.client, site=SITE, machine="machine-1"))
            try:
                yield Seen(host, env.client, served, http, tmp_path)
            finally:
                binding.cancel()
                await asyncio.gather(binding, return_exceptions=True)
                host.home.source.close()


async def test_1_a_flipped_byte_of_a_layer_is_never_an_image(seen, tmp_path, capsys):
    seen.certificates()
    disk = tmp_path / "disk.img"
    disk.write_bytes(os.urandom(MIB))
    stored = disk_layer(disk, tmp_path)
    digest = push(seen.http, REPOSITORY, "latest", Image(layers=(stored,)))
    blob = seen.blob(stored.blob.digest)
    good = blob.read_bytes()
    blob.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :])
    seen.apply()
    name = import_name(NAME, digest)
    await eventually(lambda: seen.reason() == "ImportFailed", 40)
    words = seen.condition("UpToDate")[2]
    assert stored.blob.digest in words
    await eventually(lambda: seen.ready() == "False")
    assert seen.store.get(DataVolume, NAMESPACE, name).status.phase == "Failed"
    assert not (seen.host.state.path / "volumes" / NAMESPACE / f"{name}.img").exists()
    assert words in seen.describe(capsys)
    blob.write_bytes(good)
    await seen.poll()
    await seen.up_to_date()
    assert seen.host.content(name) == disk.read_bytes().rstrip(b"\0")


async def test_2_four_causes_are_four_statuses_with_events_and_a_time_of_the_last_poll(seen, capsys):
    seen.release(b"one" * 1000)
    url = f"docker://{seen.served.host}/{REPOSITORY}"
    causes = {
        "ImageNotFound": {"url": f"{url}:no-such-tag"},
        "RegistryUnavailable": {"url": f"docker://127.0.0.1:1/{REPOSITORY}:latest"},
        "MissingDependency": {"certs": "no-such-certs"},
        "ImageNotFound of a digest": {"url": f"{url}@sha256:{'0' * 64}"},
    }
    seen.certificates()
    said: dict[str, str] = {}
    for cause, changes in causes.items():
        before = seen.cron().status.last_execution_timestamp if said else None
        seen.apply(**changes)
        reason = cause.partition(" ")[0]

        def is_said(reason=reason, before=before):
            status = seen.cron().status
            words = seen.condition("UpToDate")[2]
            moved = before is None or status.last_execution_timestamp > before
            return seen.reason() == reason and words not in said.values() and moved

        await eventually(is_said, 40)
        said[cause] = seen.condition("UpToDate")[2]
        event = ("Warning", reason, said[cause])
        await eventually(lambda event=event: event in seen.events())
        assert said[cause] in seen.describe(capsys)
        assert seen.condition("Progressing")[:2] == ("False", "NoImport")
    assert len(set(said.values())) == len(causes)
    assert "no-such-tag" in said["ImageNotFound"]
    assert "127.0.0.1:1" in said["RegistryUnavailable"]
    assert "no-such-certs" in said["MissingDependency"]
    assert "sha256:000" in said["ImageNotFound of a digest"]


async def test_4_a_missing_cert_config_map_hangs_nowhere_and_heals_when_it_is_applied(seen):
    digest = seen.release(b"one" * 1000)
    seen.apply()
    await eventually(lambda: seen.reason() == "MissingDependency")
    words = seen.condition("UpToDate")[2]
    assert "certs" in words
    assert NAMESPACE in words, "it is looked for in the cron's own namespace"
    seen.certificates()
    await seen.up_to_date()
    assert seen.host.points_to(NAME) == import_name(NAME, digest)


async def test_5_a_tag_that_vanishes_after_a_success_is_not_up_to_date(seen):
    seen.certificates()
    digest = seen.release(b"one" * 1000, "vanishing")
    seen.apply(url=f"docker://{seen.served.host}/{REPOSITORY}:vanishing")
    await seen.up_to_date()
    polled = seen.cron().status.last_execution_timestamp
    delete_tag(seen.http, REPOSITORY, "vanishing")
    await seen.poll()
    assert seen.condition("UpToDate")[:2] == ("False", "ImageNotFound")

    async def moves():
        await seen.poll()
        return seen.cron().status.last_execution_timestamp > polled

    await eventually(moves)
    assert seen.ready() == "True", "the last good image stays in use"
    assert seen.host.points_to(NAME) == import_name(NAME, digest)
    seen.release(b"one" * 1000, "vanishing")
    await seen.poll()
    await seen.up_to_date()


async def test_6_an_image_without_a_disk_makes_no_progress_and_the_cron_says_why(seen, tmp_path, capsys):
    seen.certificates()
    empty = layer(lambda stream: stream.write(b"\0" * 10240), tmp_path)
    digest = push(seen.http, REPOSITORY, "latest", Image(layers=(empty,)))
    seen.apply()
    await eventually(lambda: seen.reason() == "ImportFailed", 40)
    words = seen.condition("UpToDate")[2]
    assert "disk" in words
    assert seen.condition("Progressing")[0] == "False"
    await eventually(lambda: ("Warning", "ImportFailed", words) in seen.events())
    assert words in seen.describe(capsys)
    assert ("Warning", "InvalidImage", words) in seen.events(DataVolume, import_name(NAME, digest))


async def test_8_a_good_import_emits_no_warning_and_few_events(seen):
    seen.certificates()
    digest = seen.release(b"one" * 1000)
    seen.apply()
    await seen.up_to_date()
    of_cron, of_volume = seen.events(), seen.events(DataVolume, import_name(NAME, digest))
    assert {kind for kind, _, _ in of_cron + of_volume} == {"Normal"}
    assert sorted(reason for _, reason, _ in of_cron) == ["ImportStarted", "ImportSucceeded"]
    assert sorted(reason for _, reason, _ in of_volume) == ["ImportInProgress", "ImportScheduled", "ImportSucceeded"]
    assert not seen.events(DataSource)


async def test_9_a_quiet_poll_is_one_write_and_nothing_is_written_between_polls(seen):
    seen.certificates()
    seen.release(b"one" * 1000)
    seen.apply()
    await seen.up_to_date()

    def versions():
        found = [it for kind in (DataImportCron, DataSource, DataVolume) for it in seen.store.list(kind)]
        return {(it.kind, it.metadata.name): int(it.metadata.resource_version) for it in found}

    def written():
        return {path: stamp_of(path) for path in seen.host.state.status.glob("*/*/*.json")}

    async def rests():
        stamps = written()
        await asyncio.sleep(2.5)  # two rounds of the binding: what they would write is what is looked for
        return written() == stamps

    await eventually(rests, 30)
    before, stamps = versions(), written()
    result = await seen.poll()
    assert result.reason == "UpToDate"
    assert versions() == before | {("DataImportCron", NAME): before["DataImportCron", NAME] + 1}
    changed = {path for path, stamp in written().items() if stamps.get(path) != stamp}
    assert len(changed) == 1, changed
    await eventually(rests, 30)
    assert versions()["DataImportCron", NAME] == before["DataImportCron", NAME] + 1


async def test_10_a_tag_that_moves_between_poll_and_import_is_no_race(seen):
    seen.certificates()
    with (seen.host.state.path / "settings.toml").open("a") as settings:
        settings.write(f"import_rate = {2**19}\n")
    first, second = os.urandom(MIB - 1) + b"1", b"two" * 1000
    old = seen.release(first)
    seen.apply()
    await eventually(lambda: "ImportInProgress" in [v.status.phase for v in seen.store.list(DataVolume, NAMESPACE)])
    new = seen.release(second)
    await seen.poll()
    await eventually(lambda: seen.host.points_to(NAME) == import_name(NAME, new), 40)
    await seen.up_to_date()
    assert seen.host.content(import_name(NAME, old)) == first
    assert seen.host.content(import_name(NAME, new)) == second
    path = seen.host.state.path / "volumes" / NAMESPACE / f"{import_name(NAME, old)}.img"
    assert path.stat().st_size == MIB, "a volume is as large as requested"


async def test_x17_a_reference_that_is_pinned_by_digest_is_imported_once(seen):
    seen.certificates()
    digest = seen.release(b"one" * 1000)
    seen.apply(url=f"docker://{seen.served.host}/{REPOSITORY}:latest@{digest}")
    await seen.up_to_date()
    seen.release(b"two" * 1000)
    await seen.poll()
    await seen.up_to_date()
    assert [v.metadata.name for v in seen.store.list(DataVolume, NAMESPACE)] == [import_name(NAME, digest)]
