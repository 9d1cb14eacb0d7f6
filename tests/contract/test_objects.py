"""`ports.Objects`, as every home keeps it."""

from __future__ import annotations

import asyncio

import pytest

from dataimportcron.api.types import (
    ConfigMap,
    DataImportCron,
    DataSource,
    DataSourceSource,
    DataVolume,
    NamespacedName,
    ObjectMeta,
)
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError
from dataimportcron.manifests import with_annotations, with_labels, with_status


@pytest.fixture
def objects(bench):
    return bench.home.objects


def volume(name="fedora-1", namespace="golden", **metadata):
    return DataVolume.model_validate(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": name, "namespace": namespace} | metadata,
            "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}},
        }
    )


async def test_create_gives_identity(objects):
    made = await objects.create(volume())
    metadata = made.metadata
    assert metadata.uid
    assert metadata.resource_version
    assert metadata.creation_timestamp is not None
    assert await objects.get(DataVolume, "golden", "fedora-1") == made


async def test_nothing_is_lost(objects):
    document = volume().document()
    document["metadata"] |= {"labels": {"a.kubevirt.io/b": "c"}, "annotations": {"note": "x: y\n- z"}}
    document["spec"]["somethingNew"] = {"deep": [1, {"er": None}]}
    made = await objects.create(DataVolume.model_validate(document))
    found = (await objects.get(DataVolume, "golden", "fedora-1")).model_dump(by_alias=True, exclude_unset=True)
    assert found["spec"]["somethingNew"] == {"deep": [1, {"er": None}]}
    assert found["spec"]["source"] == {"blank": {}}
    assert found["metadata"]["annotations"] == document["metadata"]["annotations"]
    assert made.metadata.labels == {"a.kubevirt.io/b": "c"}


async def test_create_keeps_the_status(objects):
    made = await objects.create(with_status(volume(), phase="ImportScheduled"))
    assert made.status.phase == "ImportScheduled"


async def test_create_twice(objects):
    made = await objects.create(volume())
    with pytest.raises(AlreadyExistsError, match="golden/fedora-1"):
        await objects.create(volume(labels={"other": "one"}))
    assert await objects.get(DataVolume, "golden", "fedora-1") == made


@pytest.mark.parametrize("kind", [DataImportCron, DataSource, DataVolume, ConfigMap])
async def test_not_found(objects, kind):
    with pytest.raises(ObjectNotFoundError, match="golden/absent"):
        await objects.get(kind, "golden", "absent")


async def test_kinds_and_namespaces_are_apart(objects):
    made = [
        await objects.create(volume("same", "one")),
        await objects.create(volume("same", "two")),
        await objects.create(ConfigMap(metadata=ObjectMeta(name="same", namespace="one"))),
    ]
    assert len({item.metadata.uid for item in made}) == 3
    assert await objects.get(DataVolume, "two", "same") == made[1]
    assert await objects.get(ConfigMap, "one", "same") == made[2]


async def test_list_is_ordered(objects):
    names = [("b", "x"), ("a", "z"), ("a", "z-1"), ("a-b", "y"), ("a", "z.1")]
    for namespace, name in names:
        await objects.create(volume(name, namespace))
    found = [(item.metadata.namespace, item.metadata.name) for item in await objects.list(DataVolume)]
    assert found == sorted(names)
    assert [item.metadata.name for item in await objects.list(DataVolume, "a")] == ["z", "z-1", "z.1"]
    assert await objects.list(DataVolume, "none") == []
    assert await objects.list(DataSource) == []


async def test_patch_writes_labels_annotations_spec_and_status(objects):
    before = await objects.create(volume(labels={"old": "1", "kept": "1"}))
    after = with_status(with_annotations(with_labels(before, {"new": "2"}), {"note": "n"}), phase="Succeeded")
    after = after.model_copy(update={"spec": after.spec.model_copy(update={"content_type": "kubevirt"})})
    written = await objects.patch(before, after)
    assert written == await objects.get(DataVolume, "golden", "fedora-1")
    assert written.metadata.labels == {"old": "1", "kept": "1", "new": "2"}
    assert written.metadata.annotations == {"note": "n"}
    assert written.spec.content_type == "kubevirt"
    assert written.spec.source == before.spec.source
    assert written.status.phase == "Succeeded"
    assert written.metadata.uid == before.metadata.uid
    assert written.metadata.resource_version != before.metadata.resource_version


async def test_generation_counts_changes_of_the_spec_only(objects):
    before = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    assert before.metadata.generation == 1
    labelled = await objects.patch(before, with_labels(before, {"new": "2"}))
    assert labelled.metadata.generation == 1
    source = DataSourceSource(pvc=NamespacedName(namespace="golden", name="fedora-1"))
    changed = labelled.model_copy(update={"spec": labelled.spec.model_copy(update={"source": source})})
    assert (await objects.patch(labelled, changed)).metadata.generation == 2


async def test_patch_removes(objects):
    before = await objects.create(with_status(volume(annotations={"a": "1", "b": "2"}), phase="Pending", progress="1%"))
    after = with_status(with_annotations(before, {"a": None}), progress=None)
    written = await objects.patch(before, after)
    assert written.metadata.annotations == {"b": "2"}
    assert written.status.progress is None
    assert written.status.phase == "Pending"


async def test_patch_of_nothing_writes_nothing(objects):
    before = await objects.create(volume())
    after = with_labels(with_annotations(before, {"absent": None}), {})
    assert (await objects.patch(before, after)).metadata.resource_version == before.metadata.resource_version
    assert (await objects.get(DataVolume, "golden", "fedora-1")) == before


async def test_stale_patch_conflicts_and_changes_nothing(objects):
    read = await objects.create(volume())
    written = await objects.patch(read, with_labels(read, {"first": "1"}))
    with pytest.raises(ConflictError, match=r"DataVolume golden/fedora-1 .*resourceVersion"):
        await objects.patch(read, with_labels(read, {"second": "2"}))
    assert await objects.get(DataVolume, "golden", "fedora-1") == written


async def test_patches_that_come_together_are_told_apart(objects):
    made = [await objects.create(volume(f"fedora-{number}")) for number in range(4)]
    await objects.delete(made[3])
    changes = [
        *((read, with_labels(read, {"a": "1"})) for read in made),
        (made[0], with_labels(made[0], {"a": "2"})),
        (made[1], made[1]),
    ]
    results = await asyncio.gather(*(objects.patch(*change) for change in changes), return_exceptions=True)
    stored = await objects.list(DataVolume)
    assert [found.metadata.labels for found in stored] == [{"a": "1"}] * 3
    assert results[:3] == stored
    assert [type(result) for result in results[3:5]] == [ObjectNotFoundError, ConflictError]


async def test_patch_of_what_is_gone(objects):
    read = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    await objects.delete(read)
    with pytest.raises(ObjectNotFoundError):
        await objects.patch(read, with_labels(read, {"a": "1"}))


async def test_patch_never_meets_another_life(objects):
    old = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    await objects.delete(old)
    new = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    assert new.metadata.uid != old.metadata.uid
    with pytest.raises(ConflictError):
        await objects.patch(old, with_labels(old, {"a": "1"}))
    assert await objects.get(DataSource, "golden", "fedora") == new


async def test_delete(objects):
    made = await objects.create(volume())
    await objects.create(volume("other"))
    await objects.delete(made)
    with pytest.raises(ObjectNotFoundError):
        await objects.get(DataVolume, "golden", "fedora-1")
    assert [item.metadata.name for item in await objects.list(DataVolume)] == ["other"]
    await objects.delete(made)


async def test_delete_is_fenced_by_uid(objects):
    old = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    await objects.delete(old)
    new = await objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    await objects.delete(old)
    assert await objects.get(DataSource, "golden", "fedora") == new


async def test_delete_does_not_mind_a_newer_version(objects):
    read = await objects.create(volume())
    await objects.patch(read, with_labels(read, {"a": "1"}))
    await objects.delete(read)
    with pytest.raises(ObjectNotFoundError):
        await objects.get(DataVolume, "golden", "fedora-1")


async def test_a_delete_of_what_was_read_minds_a_newer_version(objects):
    read = await objects.create(volume())
    written = await objects.patch(read, with_labels(read, {"a": "1"}))
    with pytest.raises(ConflictError):
        await objects.delete(read, unchanged=True)
    assert await objects.get(DataVolume, "golden", "fedora-1") == written
    await objects.delete(written, unchanged=True)
    await objects.delete(written, unchanged=True)
    with pytest.raises(ObjectNotFoundError):
        await objects.get(DataVolume, "golden", "fedora-1")


async def test_what_was_read_stays_as_it_was(objects):
    made = await objects.create(volume(labels={"a": "1"}))
    read = await objects.get(DataVolume, "golden", "fedora-1")
    [listed] = await objects.list(DataVolume)
    written = await objects.patch(read, with_labels(read, {"a": "2"}))
    again = await objects.get(DataVolume, "golden", "fedora-1")
    [now] = await objects.list(DataVolume)
    assert [it.metadata.labels["a"] for it in (made, read, listed)] == ["1", "1", "1"]
    assert [it.metadata.labels["a"] for it in (written, again, now)] == ["2", "2", "2"]


async def test_a_list_misses_no_change_however_quick(objects):
    made = await objects.create(volume(annotations={"count": "0"}))
    for count in range(1, 100):
        made = await objects.patch(made, with_annotations(made, {"count": str(count)}))
        [listed] = await objects.list(DataVolume, "golden")
        assert listed.metadata.annotations["count"] == str(count)


async def test_no_update_is_lost(objects):
    await objects.create(volume(annotations={"count": "0"}))

    async def count() -> None:
        while True:
            before = await objects.get(DataVolume, "golden", "fedora-1")
            after = with_annotations(before, {"count": str(int(before.metadata.annotations["count"]) + 1)})
            try:
                await objects.patch(before, after)
            except ConflictError:
                continue
            return

    await asyncio.gather(*(count() for _ in range(12)))
    assert (await objects.get(DataVolume, "golden", "fedora-1")).metadata.annotations == {"count": "12"}
