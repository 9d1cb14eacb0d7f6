"""Who keeps an image: overlays on it, and those who are to clone it and may."""

import pytest

from activities.uses import wanting
from dataimportcron.api.types import DataVolume
from dataimportcron.errors import ApiUnavailableError
from dataimportcron.messages import CleanUp, CleanUpInput, PopulateInput, Pruned, Step
from dataimportcron.values import CloneSource, SourceKind
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE


def machine(home, clone="overlay", size="2Mi", **spec):
    """Apply a virtual machine's disk; returns what its steps are given."""
    spec = spec or {"sourceRef": {"kind": "DataSource", "name": DATA_SOURCE}}
    if size:
        spec |= {"storage": {"resources": {"requests": {"storage": size}}}}
    else:
        spec |= {"storage": {}}
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "vm", "namespace": NAMESPACE, "annotations": {"dataimportcron.io/clone": clone}},
        "spec": spec,
    }
    home.store.apply(document)
    return PopulateInput(namespace=NAMESPACE, name="vm", now=NOW)


async def imported(steps, home, content, **spec):
    home.release(content)
    ref = home.apply(importsToKeep=1, **spec)
    decision = await steps.import_(ref)
    promote, _ = await steps.promote(ref, decision)
    return decision.data_volume, promote


async def make(steps, home, **wanted):
    populate = machine(home, **wanted)
    ready = await steps.run(steps.volume.prepare_data_volume, populate)
    assert ready.step is Step.CLONE
    return await steps.clone(populate, ready)


@pytest.mark.parametrize(("size", "bytes_"), [("2Mi", 2 << 20), ("", 1 << 20)])
async def test_an_overlay_on_what_the_data_source_points_to(steps, home, size, bytes_):
    golden, _ = await imported(steps, home, b"one")
    done = await make(steps, home, size=size)
    assert done.message == "Overlay"
    found = await home.home.volumes.find(NAMESPACE, "vm")
    assert (found.format, found.size) == ("qcow2", bytes_)
    assert home.store.get(DataVolume, NAMESPACE, "vm").status.phase == "Succeeded"
    assert "vm.qcow2" in await home.home.volumes.in_use(NAMESPACE, golden)


async def test_an_image_below_an_overlay_is_kept_until_that_is_gone(steps, home):
    first, _ = await imported(steps, home, b"one")
    await make(steps, home)
    second, promote = await imported(steps, home, b"two")
    overlay = (await home.home.volumes.find(NAMESPACE, "vm")).location
    for _ in range(2):
        pruned = await steps.run(steps.retention.prune_imports, promote)
        assert (pruned.removed, pruned.kept) == ((), (f"{first}: {overlay} has it as its backing file",))
    events = home.store.record(type(home.cron()), NAMESPACE, home.cron().metadata.name).events
    (said,) = [event for event in events if event["reason"] == "InUse"]
    assert said["message"] == f"Import {first} is kept: {overlay} has it as its backing file"
    assert said["count"] == 2
    await home.home.volumes.delete(NAMESPACE, "vm")
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (first,)
    assert second in home.volumes()


async def test_the_end_of_a_cron_keeps_what_is_in_use(steps, home):
    name, promote = await imported(steps, home, b"one", retentionPolicy="None")
    await make(steps, home)
    home.store.delete(home.cron())
    end = CleanUpInput(cron=promote.cron, clean_up=CleanUp(retention_policy="None", data_source=DATA_SOURCE), now=NOW)
    ended = await steps.run(steps.retention.clean_up, end)
    overlay = (await home.home.volumes.find(NAMESPACE, "vm")).location
    assert ended.kept == (f"DataVolume {name}: {overlay} has it as its backing file",)
    assert ended.removed == (f"DataSource {DATA_SOURCE}",)
    events = home.store.record(DataVolume, NAMESPACE, name).events
    assert [event["message"] for event in events if event["reason"] == "InUse"] == [
        f"Kept when DataImportCron fedora-cron ended: {overlay} has it as its backing file"
    ]
    assert await home.home.volumes.find(NAMESPACE, name) is not None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"clone": "linked"}, "annotation dataimportcron.io/clone is 'linked', expected 'overlay'"),
        ({"source": {"blank": {}}}, "this one has neither sourceRef nor source.pvc"),
    ],
)
async def test_an_annotation_that_cannot_be_followed_fails(steps, home, wanted, words):
    ready = await steps.run(steps.volume.prepare_data_volume, machine(home, **wanted))
    assert (ready.step, ready.reason) == (Step.FAILED, "InvalidSpec")
    assert words in ready.message


VOLUME = CloneSource(namespace="golden", name="fedora-1")
SNAPSHOT = CloneSource(namespace="golden", name="fedora-1", kind=SourceKind.SNAPSHOT)


def wish(name, phase="", annotations=None, **source):
    source = {"source": source} if source else {}
    metadata = {"name": name, "namespace": "vms", "annotations": annotations or {}}
    return DataVolume.model_validate({"metadata": metadata, "spec": source, "status": {"phase": phase}})


def test_who_is_to_be_cloned():
    wishes = [
        wish("done", "Succeeded", pvc={"namespace": "golden", "name": "fedora-1"}),
        wish("given-up", "Failed", pvc={"namespace": "golden", "name": "fedora-1"}),
        wish("elsewhere", pvc={"name": "fedora-1"}),
        wish("named", "Pending", pvc={"namespace": "golden", "name": "fedora-1"}),
        wish("chosen", annotations={"dataimportcron.io/clone-source": "golden/fedora-1"}),
        wish("restored", snapshot={"namespace": "golden", "name": "fedora-1"}),
        wish("to-restore", annotations={"dataimportcron.io/clone-source": "snapshot/golden/fedora-1"}),
    ]
    assert [volume.metadata.name for volume in wanting(VOLUME, wishes)] == ["named", "chosen"]
    assert [volume.metadata.name for volume in wanting(SNAPSHOT, wishes)] == ["restored", "to-restore"]


class Rights:
    """`ports.Authorizer` that notes for whom it was asked."""

    def __init__(self):
        self.allowed, self.asked, self.outage = set(), [], None

    async def refusal(self, wanted, source):
        self.asked.append((wanted.metadata.name, str(source)))
        if self.outage is not None:
            raise self.outage
        return "" if wanted.metadata.name in self.allowed else "User alice has insufficient permissions"


@pytest.fixture
def rights(home):
    home.home.authorizer = Rights()
    return home.home.authorizer


def stranger(home, image, *, annotations=None, **spec):
    """Apply a DataVolume of another namespace that wants an image."""
    spec = spec or {"source": {"pvc": {"namespace": NAMESPACE, "name": image}}}
    home.store.apply(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": "stranger", "namespace": "elsewhere", "annotations": annotations or {}},
            "spec": spec | {"storage": {"resources": {"requests": {"storage": "1Mi"}}}},
        }
    )


@pytest.mark.parametrize("by", ["its spec", "a note of its own"])
async def test_who_may_not_clone_an_image_does_not_keep_it(rights, steps, home, by):
    first, _ = await imported(steps, home, b"one")
    if by == "its spec":
        stranger(home, first)
    else:
        stranger(
            home, first, annotations={"dataimportcron.io/clone-source": f"{NAMESPACE}/{first}"}, source={"blank": {}}
        )
    second, promote = await imported(steps, home, b"two")
    rights.allowed = {"stranger"}
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.kept == (f"{first}: DataVolume elsewhere/stranger is to be cloned from it",)
    rights.allowed = set()
    rights.asked.clear()
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (first,)
    assert rights.asked == [("stranger", f"{NAMESPACE}/{first}")]
    assert list(home.volumes()) == [second]


async def test_an_image_is_kept_while_nobody_can_say_who_may_clone_it(rights, steps, home):
    first, _ = await imported(steps, home, b"one")
    stranger(home, first)
    _, promote = await imported(steps, home, b"two")
    rights.outage = ApiUnavailableError("connection refused")
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.removed == ()
    assert "is to be cloned from it, and nobody can say now whether it may be: connection refused" in pruned.kept[0]


async def test_nobody_is_asked_where_nothing_is_to_go(rights, steps, home):
    name, promote = await imported(steps, home, b"one")
    stranger(home, name)
    assert await steps.run(steps.retention.prune_imports, promote) == Pruned()
    assert rights.asked == []


@pytest.mark.usefixtures("rights")
async def test_the_end_of_a_cron_is_not_kept_up_by_who_may_not(steps, home):
    name, promote = await imported(steps, home, b"one", retentionPolicy="None")
    stranger(home, name)
    home.store.delete(home.cron())
    end = CleanUpInput(cron=promote.cron, clean_up=CleanUp(retention_policy="None", data_source=DATA_SOURCE), now=NOW)
    ended = await steps.run(steps.retention.clean_up, end)
    assert ended.kept == ()
    assert f"DataVolume {name}" in ended.removed
