"""Crons that follow a volume in place of an image (P-14)."""

from dataclasses import replace

import pytest

from dataimportcron.messages import Step, Trigger, Verdict
from dataimportcron.values import VolumeSpec
from tests.support.home import NAMESPACE, SIZE
from tests.support.volume_files import content, overwrite

MIB = 1 << 20
SPEC = VolumeSpec(namespace=NAMESPACE, name="built", uid="1234abcd-ef01-2345", size=MIB)
TEMPLATE = {
    "spec": {
        "source": {"pvc": {"namespace": NAMESPACE, "name": "built"}},
        "storage": {"resources": {"requests": {"storage": SIZE}}},
    }
}


@pytest.fixture
def ref(home):
    return home.apply(template=TEMPLATE)


async def built(home, text, uid=SPEC.uid):
    await home.home.cloner.blank(replace(SPEC, uid=uid))
    overwrite(await home.home.volumes.find(NAMESPACE, "built"), text)


async def test_a_volume_is_cloned_and_promoted(home, steps, ref):
    await built(home, b"first")
    decision = await steps.look(ref)
    assert (decision.verdict, decision.digest) == (Verdict.IMPORT, "uid:1234abcd-ef01-2345")
    assert decision.data_volume == "fedora-1234abcd-ef0"
    populate = steps.populate(ref, decision)
    ready = await steps.run(steps.volume.prepare_data_volume, populate)
    assert (ready.step, ready.source) == (Step.CLONE, f"{NAMESPACE}/built")
    await steps.clone(populate, ready)
    await steps.promote(ref, decision)
    assert home.points_to() == decision.data_volume
    made = await home.home.volumes.find(NAMESPACE, decision.data_volume)
    assert content(made).startswith(b"first")
    again = await steps.look(ref)
    assert again.verdict is Verdict.WAIT
    assert home.condition("UpToDate")[0] == "True"


async def test_a_volume_that_is_made_anew_is_a_new_version(home, steps, ref):
    await built(home, b"first")
    assert (await steps.look(ref)).digest == "uid:1234abcd-ef01-2345"
    await built(home, b"second", uid="fedcba98-7654-3210")
    later = await steps.look(ref)
    assert (later.verdict, later.data_volume) == (Verdict.IMPORT, "fedora-fedcba98-765")


async def test_a_volume_that_is_not_there(home, steps, ref):
    decision = await steps.look(ref)
    assert decision.verdict is not Verdict.IMPORT
    status, reason, message = home.condition("UpToDate")
    assert (status, reason) == ("False", "CloneWithoutSource")
    assert message.startswith(f"PersistentVolumeClaim {NAMESPACE}/built was not found")
    await built(home, b"at last")
    assert (await steps.look(ref, Trigger.CHANGE)).verdict is Verdict.IMPORT
