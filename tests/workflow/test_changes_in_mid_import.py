"""Each change of a cron's spec while an import runs: none stops an import that is well. See docs/spec-changes.md."""

from contextlib import asynccontextmanager

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import VolumeTooSmallError
from dataimportcron.messages import Outcome
from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE, NAMESPACE, URL, cron_document
from tests.support.temporal import eventually

OTHER = "docker://quay.io/kubevirt/fedora:40"


def template(**changes):
    changed = cron_document()["spec"]["template"]
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = changed
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return changed


@asynccontextmanager
async def in_mid_import(bound, home, **spec):
    home.importer.gate.clear()
    digest = home.release(b"large")
    async with bound() as cron:
        home.apply(**spec)
        await eventually(lambda: home.importer.running == 1)
        yield cron, digest


async def goes_on(home, digest, *, data_source=DATA_SOURCE):
    """The import that was running is the one that the DataSource gets, and the only one."""
    home.importer.gate.set()

    def promoted():
        pvc = home.store.get(DataSource, NAMESPACE, data_source).spec.source.pvc
        return pvc is not None and pvc.name == import_name(DATA_SOURCE, digest)

    await eventually(promoted, 40)
    await eventually(lambda: home.condition("UpToDate")[0] == "True", 40)
    assert home.importer.started == [digest]


async def test_schedule_is_the_next_tick_at_once(bound, home):
    async with in_mid_import(bound, home) as (cron, digest):
        before = (await cron.state()).next_poll
        home.apply(schedule="0 0 1 1 *")

        async def moved():
            return (await cron.state()).next_poll > before

        await eventually(moved)
        assert (await cron.state()).next_poll.month == 1
        await goes_on(home, digest)


async def test_tag_is_polled_at_once_and_its_image_is_imported_next(bound, home):
    async with in_mid_import(bound, home) as (_, digest):
        home.importer.add(b"other")
        other = home.source.release(OTHER, b"other")
        home.apply(template=template(spec__source__registry__url=OTHER))
        await eventually(lambda: home.cron().metadata.annotations[naming.ANNOTATION_DESIRED_DIGEST] == other)
        assert home.importer.running == 1
        home.importer.gate.set()
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, other), 40)
        assert home.importer.started == [digest, other]


async def test_size_is_that_of_the_next_import(bound, home):
    async with in_mid_import(bound, home) as (_, digest):
        home.apply(template=template(spec__storage__resources__requests__storage="2Mi"))
        await goes_on(home, digest)
        found = await home.home.volumes.find(NAMESPACE, import_name(DATA_SOURCE, digest))
        assert found.size == 2**20


async def test_size_corrects_an_import_that_failed_for_it_at_once(bound, home):
    digest = home.release(b"large")
    home.importer.failure = VolumeTooSmallError("the disk needs 2 MiB, the volume has 1 MiB")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[1] == "ImportFailed")
        home.importer.failure = None
        home.apply(template=template(spec__storage__resources__requests__storage="2Mi"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 40)
        found = await home.home.volumes.find(NAMESPACE, import_name(DATA_SOURCE, digest))
        assert found.size == 2 * 2**20
        outcomes = [record.outcome for record in (await cron.state()).history]
        assert outcomes == [Outcome.SUCCEEDED, Outcome.FAILED]


async def test_managed_data_source_gets_the_import_that_runs(bound, home):
    async with in_mid_import(bound, home) as (_, digest):
        home.apply(managedDataSource="renamed")
        await eventually(lambda: home.store.get(DataSource, NAMESPACE, "renamed"))
        await goes_on(home, digest, data_source="renamed")
        old = home.store.get(DataSource, NAMESPACE, DATA_SOURCE)
        await eventually(
            lambda: naming.LABEL_CRON not in home.store.get(DataSource, NAMESPACE, DATA_SOURCE).metadata.labels
        )
        assert old.spec.source.pvc is None
        newer = home.release(b"newer")
        home.apply(managedDataSource="renamed", schedule="@every 1s")
        await eventually(
            lambda: (
                home.store.get(DataSource, NAMESPACE, "renamed").spec.source.pvc.name == import_name("renamed", newer)
            ),
            40,
        )


@pytest.mark.parametrize(
    "spec",
    [
        {"importsToKeep": 1},
        {"garbageCollect": "Never"},
        {"template": template(metadata__labels={"team": "images"})},
        {"template": template(spec__source__registry__secretRef="login")},
    ],
    ids=["importsToKeep", "garbageCollect", "template labels", "secretRef"],
)
async def test_what_concerns_later_imports_leaves_the_running_one_alone(bound, home, spec):
    async with in_mid_import(bound, home) as (_, digest):
        uid = home.store.list(DataVolume, NAMESPACE)[0].metadata.uid
        home.apply(**spec)
        await goes_on(home, digest)
        (volume,) = home.store.list(DataVolume, NAMESPACE)
        assert volume.metadata.uid == uid
        assert "team" not in volume.metadata.labels
        assert volume.spec.source.registry.secret_ref is None
        assert volume.spec.source.registry.url == URL.replace(":latest", f"@{digest}")


@pytest.mark.parametrize("policy", ["All", "None"])
async def test_retention_policy_is_the_last_one_when_the_cron_goes(bound, home, policy):
    other = "None" if policy == "All" else "All"
    async with in_mid_import(bound, home, retentionPolicy=other) as (_, digest):
        home.apply(retentionPolicy=policy)
        await goes_on(home, digest)
        labels = home.store.list(DataVolume, NAMESPACE)[0].metadata.labels
        assert (naming.LABEL_CLEANUP in labels) is (policy == "None")
        home.store.delete(home.cron())
        await eventually(lambda: not home.store.deletions())
        await eventually(lambda: len(home.volumes()) == (1 if policy == "All" else 0))


async def test_a_lower_imports_to_keep_prunes_at_once_where_nothing_runs(bound, home):
    async with bound() as cron:
        digests = []
        for number in range(3):
            digests.append(home.release(f"{number}".encode()))
            home.apply(importsToKeep=3)
            await eventually(cron.state)
            await cron.handle.signal("poll", "test")
            await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digests[-1]))
        assert len(home.volumes()) == 3
        home.apply(importsToKeep=0)
        await eventually(lambda: list(home.volumes()) == [import_name(DATA_SOURCE, digests[-1])])
        assert home.points_to() == import_name(DATA_SOURCE, digests[-1])
