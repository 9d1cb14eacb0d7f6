"""The whole product in pods, installed by kustomize: the story of `make demo-cluster`, and what it may do there."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import yaml

from demo.cluster.__main__ import registry_client
from demo.cluster.beside import playing_cdi
from demo.cluster.installation import BESIDE, NAMESPACE, STANDALONE, Installation, temporal
from demo.cluster.story import CRON, DATA_SOURCE, Story
from demo.cluster.story import NAMESPACE as GOLDEN
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster import rights
from tests.cluster.rights import Right

ELSEWHERE = frozenset(
    {
        Right("", "events", "get"),
        Right("", "events", "patch"),
        Right("", "persistentvolumeclaims", "delete"),
        Right("cdi.kubevirt.io", "dataimportcrons", "get"),
        Right("dataimportcron.io", "dataimportcrons", "get"),
        Right("", "persistentvolumeclaims", "watch"),
        Right("", "secrets", "get"),
        Right("", "configmaps", "create"),
        Right("image.openshift.io", "imagestreams", "get"),
        Right("", "persistentvolumes", "list"),
        Right("cdi.kubevirt.io", "datavolumes", "get"),
        Right("cdi.kubevirt.io", "datavolumes", "delete"),
        Right("cdi.kubevirt.io", "datasources", "delete"),
        Right("cdi.kubevirt.io", "storageprofiles", "delete"),
        Right("cdi.kubevirt.io", "cdiconfigs", "create"),
    }
)
"""What is granted for other sources, other modes and other ends than this story's."""
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:dataimportcron"


@pytest.fixture(params=[STANDALONE, BESIDE], ids=lambda mode: mode.name)
def installed(request, cluster, tmp_path):
    """The product, installed in one mode, and where its audit begins; nothing of it is left for the other mode."""
    mode = request.param
    place = Installation(cluster, tmp_path, mode)
    with ExitStack() as stack:
        stack.enter_context(temporal(cluster, tmp_path))
        client = stack.enter_context(registry_client(cluster))
        if mode is BESIDE:
            stack.enter_context(playing_cdi(cluster))
        stack.callback(_leave_nothing, place)
        place.install(build(CHECKOUT, cache(), fresh=False))
        yield Story(place, client, tmp_path), len((cluster.folder / "audit.log").read_text().splitlines())


def _leave_nothing(place):
    place.uninstall()
    for kind in (place.mode.crons, "datasources", "datavolumes", "pvc"):
        place.cluster.kubectl("delete", kind, "--all", "-n", GOLDEN, "--ignore-not-found", "--wait=false")
    crds = [item["metadata"]["name"] for item in place.cluster.get("crd")["items"]]
    ours = [name for name in crds if name.endswith((".cdi.kubevirt.io", ".dataimportcron.io"))]
    place.cluster.kubectl("delete", "crd", *ours)


def test_a_crons_whole_life(installed):
    story, since = installed
    story.first_import()
    story.quiet_poll()
    story.polls()
    story.disturbances()
    story.wrong_tag()
    _asks_for_no_more_than_it_may(story.place, since)
    _uninstalled_and_installed_again(story)
    story.deletion()


def _asks_for_no_more_than_it_may(place, since):
    manifests = place.cluster.kubectl("kustomize", str(place.work / "overlay"))
    granted = rights.granted(yaml.safe_load_all(manifests), "dataimportcron")
    log = place.cluster.folder / "audit.log"
    # While the other mode was uninstalled its workers outlived their roles for a moment.
    assert not rights.audited(log, ACCOUNT, since).refused
    done = rights.audited(log, ACCOUNT)
    assert granted - done.allowed <= ELSEWHERE


def _uninstalled_and_installed_again(story):
    """Objects and volumes are still there."""
    place = story.place
    claims, pointed = place.claims(GOLDEN), place.points_to(GOLDEN, DATA_SOURCE)
    place.cluster.kubectl("delete", "-k", str(place.work / "overlay"), "--ignore-not-found")
    assert place.claims(GOLDEN) == claims
    assert place.cron(GOLDEN, CRON)
    place.cluster.kubectl("apply", "-k", str(place.work / "overlay"))
    place.wait_ready()
    assert place.points_to(GOLDEN, DATA_SOURCE) == pointed
