"""The whole product in pods, installed by kustomize: the story of `make demo-cluster`, and what it may do there."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
import yaml

from dataimportcron.cluster.clones.temporaries import PERIOD
from dataimportcron.errors import TransientError
from demo.cluster.__main__ import registry_client
from demo.cluster.beside import playing_cdi
from demo.cluster.installation import BESIDE, PORT, STANDALONE, Installation, temporal
from demo.cluster.story import BY_ANNOTATION, BY_COMMAND, CRON, DATA_SOURCE, SETTINGS, Story
from demo.cluster.story import NAMESPACE as GOLDEN
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster import rights
from tests.cluster.installed import WORKER, leave_nothing, undefine
from tests.cluster.moving import moved_and_moved_back
from tests.cluster.own_temporal import by_api_key, by_certificate
from tests.cluster.rights import Right

CLONES = frozenset(
    {
        Right("", "persistentvolumes", "get"),
        Right("", "persistentvolumes", "list"),
        Right("", "persistentvolumes", "patch"),
        Right("admissionregistration.k8s.io", "mutatingadmissionpolicies", "get"),
        Right("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "get"),
        Right("authorization.k8s.io", "subjectaccessreviews", "create"),
        *(Right("snapshot.storage.k8s.io", "volumesnapshots", verb) for verb in ("create", "patch", "delete")),
        Right("snapshot.storage.k8s.io", "volumesnapshotcontents", "get"),
    }
)
ELSEWHERE = CLONES | {
    Right("", "events", "get"),
    Right("", "events", "patch"),
    Right("", "persistentvolumeclaims", "delete"),
    Right("cdi.kubevirt.io", "dataimportcrons", "get"),
    Right("dataimportcron.io", "dataimportcrons", "get"),
    Right("", "persistentvolumeclaims", "watch"),
    Right("", "secrets", "get"),
    Right("image.openshift.io", "imagestreams", "get"),
    Right("cdi.kubevirt.io", "datasources", "delete"),
    Right("cdi.kubevirt.io", "storageprofiles", "delete"),
    Right("cdi.kubevirt.io", "cdiconfigs", "create"),
}
"""What is granted for other sources, other modes and other ends than this story's, and for clones."""


WAYS = {STANDALONE: by_certificate, BESIDE: by_api_key}
"""How the workers of a mode reach Temporal."""


@pytest.fixture(params=WAYS, ids=lambda mode: mode.name)
def installed(request, cluster, tmp_path):
    """The product, installed in one mode, and where its audit begins; nothing of it is left for the other mode."""
    mode = request.param
    with ExitStack() as stack:
        stack.enter_context(temporal(cluster, tmp_path))
        engine = stack.enter_context(WAYS[mode](f"{cluster.host}:{PORT}", cluster.host, tmp_path))
        place = Installation(cluster, tmp_path, mode, engine=engine)
        client = stack.enter_context(registry_client(cluster))
        undefine(cluster)  # StorageProfiles of tests before would not be made, and a right to it seem needless
        if mode is BESIDE:
            stack.enter_context(playing_cdi(cluster))
        stack.callback(leave_nothing, place, GOLDEN)
        place.install(build(CHECKOUT, cache(), fresh=False), SETTINGS)
        yield Story(place, client, tmp_path), len((cluster.folder / "audit.log").read_text().splitlines())


def test_a_crons_whole_life(installed):
    story, since = installed
    alone = story.place.mode is STANDALONE
    story.first_import()
    story.quiet_poll()
    # Beside CDI by what knows the mode: annotations are spelt otherwise, and the command finds out.
    story.polls(*(() if alone else (BY_ANNOTATION, BY_COMMAND)))
    story.disturbances()
    story.eventually("the cron is Ready and UpToDate", 120, story.is_fine)
    if alone:
        _rests(story.place.cluster)
    story.wrong_tag()
    _asks_for_no_more_than_it_may(story.place, since)
    if alone:
        _one_worker_stays(story.place)
        _uninstalled_and_installed_again(story)
    story.deletion()
    if not alone:
        moved_and_moved_back(story)


def _rests(cluster):
    """While nothing is to be done nothing is written but the leader's Lease, and nothing listed.

    The longest period of what is looked at without a cause is ten seconds; an hour of it is `make soak`.
    """
    log = cluster.folder / "audit.log"
    time.sleep(2 * PERIOD)  # what clones may have left is looked for after the last import, too
    since = len(log.read_text().splitlines())
    time.sleep(25)
    done = rights.audited(log, WORKER, since)
    assert Right("coordination.k8s.io", "leases", "patch") in done.allowed
    busy = {right for right in done.allowed | done.refused if right.resource != "leases"}
    assert {right for right in busy if right.verb not in {"get", "watch"}} == set()


def _asks_for_no_more_than_it_may(place, since):
    manifests = place.cluster.kubectl("kustomize", str(place.work / "overlay"))
    granted = rights.granted(yaml.safe_load_all(manifests), "dataimportcron")
    log = place.cluster.folder / "audit.log"
    # While the other mode was uninstalled its workers outlived their roles for a moment. An API server that has just
    # started refuses what it does not know yet, and what was refused then may not be needed any more when it does.
    assert rights.audited(log, WORKER, since).refused <= granted
    done = rights.audited(log, WORKER)
    assert granted - done.allowed <= ELSEWHERE


def _one_worker_stays(place):
    """By the PodDisruptionBudget, whoever drains nodes."""
    first, second = (pod["metadata"]["name"] for pod in place.workers())
    place.evict(first)
    with pytest.raises(TransientError, match="disruption budget"):
        place.evict(second)
    place.wait_ready()


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
