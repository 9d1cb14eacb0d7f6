"""A cron of CDI's with a live worker of ours beside it: moved to us, used, and moved back."""

from __future__ import annotations

import json
import time
from typing import Any

from dataimportcron import naming
from demo.cluster.installation import Installation, condition
from demo.cluster.story import Story
from demo.host import wait_for
from demo.push import Image, disk_layer, push

NAMESPACE, CRON, SOURCE = "moved", "rhel-image-cron", "rhel"
REPOSITORY = "moved/rhel"
THEIRS = "dataimportcrons.cdi.kubevirt.io"
STORAGE = {"resources": {"requests": {"storage": "512Mi"}}}


def moved_and_moved_back(story: Story) -> None:
    """As docs/operations.md tells it; what the commands say is printed."""
    place = story.place
    old = _as_cdi_leaves_it(story)
    tell(place, "doctor", check=False)
    tell(place, "migrate", "--all", "--dry-run")
    assert place.cluster.answers("get", THEIRS, CRON, "-n", NAMESPACE)

    tell(place, "migrate", CRON, "-n", NAMESPACE)
    assert not place.cluster.answers("get", THEIRS, CRON, "-n", NAMESPACE)
    wait_for("UpToDate with CDI's image", 180, lambda: _is_up_to_date(place))
    assert (place.points_to(NAMESPACE, SOURCE), place.claims(NAMESPACE)) == (old, [old])

    digest = _push(story, "2")
    new = naming.import_name(SOURCE, digest)
    tell(place, "poll", CRON, "-n", NAMESPACE, "--wait")
    place.eventually_points_to(NAMESPACE, SOURCE, new, 180)

    tell(place, "migrate", CRON, "-n", NAMESPACE, "--undo")
    assert not place.cluster.answers("get", place.mode.crons, CRON, "-n", NAMESPACE)
    theirs = place.cluster.get(THEIRS, CRON, "-n", NAMESPACE)
    assert theirs["spec"]["managedDataSource"] == SOURCE
    assert theirs["metadata"]["annotations"][naming.ANNOTATION_DESIRED_DIGEST] == digest
    time.sleep(3)  # a worker that took the images for removed would remove them now
    assert place.points_to(NAMESPACE, SOURCE) == new
    assert sorted(place.claims(NAMESPACE)) == sorted([old, new])
    place.cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def tell(place: Installation, *arguments: str, check: bool = True) -> None:
    """Run a command of ours, and print it with what it says."""
    done = place.dataimportcron(*arguments, check=check)
    print(f"\n$ dataimportcron {' '.join(arguments)}\n{done.stdout}{done.stderr}")  # noqa: T201 -- a transcript, for who runs it by -s


def _is_up_to_date(place: Installation) -> bool:
    return condition(place.cron(NAMESPACE, CRON), "UpToDate")[0] == "True"


def _push(story: Story, version: str) -> str:
    disk = story.work / f"rhel-{version}.img"
    disk.write_bytes(f"rhel {version}".encode() * 10_000)
    return push(story.client, REPOSITORY, "latest", Image(layers=(disk_layer(disk, story.work),)))


def _as_cdi_leaves_it(story: Story) -> str:
    """A cron, its only import and its DataSource; returns the import's claim."""
    cluster, digest = story.place.cluster, _push(story, "1")
    claim, url = naming.import_name(SOURCE, digest), f"docker://quay.io/{REPOSITORY}"
    of_cron = {naming.LABEL_CRON: CRON}
    filled = {
        naming.ANNOTATION_LAST_USE_TIME: "2026-10-01T00:00:00.000000000Z",
        "cdi.kubevirt.io/storage.import.endpoint": f"{url}@{digest}",
        "cdi.kubevirt.io/storage.pod.phase": "Succeeded",
    }
    template = {"spec": {"source": {"registry": {"url": f"{url}:latest"}}, "storage": STORAGE}}
    spec = {"template": template, "schedule": "0 3 1 1 *", "managedDataSource": SOURCE, "retentionPolicy": "All"}
    pvc = {"accessModes": ["ReadWriteOnce"], **STORAGE}
    source = {"source": {"pvc": {"name": claim, "namespace": NAMESPACE}}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _document("cdi.kubevirt.io/v1beta1", "DataImportCron", CRON, spec,
                  annotations={naming.ANNOTATION_DESIRED_DIGEST: digest}),
        _document("v1", "PersistentVolumeClaim", claim, pvc, labels=of_cron, annotations=filled),
        _document("cdi.kubevirt.io/v1beta1", "DataSource", SOURCE, source, labels=of_cron),
    )  # fmt: skip
    status = {"status": {"currentImports": [{"DataVolumeName": claim, "Digest": digest}]}}
    cluster.kubectl("patch", THEIRS, CRON, "-n", NAMESPACE, "--type=merge", "--subresource=status", "-p",
                    json.dumps(status))  # fmt: skip
    cluster.wait("jsonpath={.status.phase}=Bound", f"pvc/{claim}", "-n", NAMESPACE)
    return claim


def _document(api_version: str, kind: str, name: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    named = {"name": name, "namespace": NAMESPACE, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": named, "spec": spec}
