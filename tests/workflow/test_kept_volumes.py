"""A DataVolume whose object is gone while somebody uses its volume: the volume stays until nobody does."""

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.errors import ConflictError
from tests.support.home import NAMESPACE
from tests.support.overlays import make_overlay
from tests.support.temporal import eventually
from worker.binding import bind

BLANK = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataVolume",
    "metadata": {"name": "base", "namespace": NAMESPACE},
    "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
}


async def test_a_volume_in_use_outlives_its_object(bound, home, monkeypatch, caplog):
    monkeypatch.setattr(bind, "RETRY_KEPT", 0.5)
    file = home.folder / "volumes" / NAMESPACE / "base.img"
    asked = []
    in_use = home.home.volumes.in_use

    async def ask(namespace, name):
        asked.append(name)
        return await in_use(namespace, name)

    monkeypatch.setattr(home.home.volumes, "in_use", ask)
    async with bound():
        home.store.apply(BLANK)
        await eventually(lambda: home.volumes().get("base") == "Succeeded")
        overlay = make_overlay(file.with_name("vm.qcow2"), file)
        home.store.delete(home.store.get(DataVolume, NAMESPACE, "base"))
        await eventually(lambda: len(asked) > 2)
        said = f"DataVolume {NAMESPACE}/base is deleted, its volume is kept: {overlay} has it as its backing file"
        assert [said in record.getMessage() for record in caplog.records].count(True) == 1
        assert file.exists()
        with pytest.raises(ConflictError, match="still being deleted"):
            home.store.apply(BLANK)
        overlay.unlink()
        await eventually(lambda: not file.exists() and not home.store.deletions())
        home.store.apply(BLANK)
        await eventually(lambda: home.volumes().get("base") == "Succeeded")
