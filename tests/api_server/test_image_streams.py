"""ImageStreams as OpenShift serves them, from a CustomResourceDefinition of their shape (P-12, P-13)."""

from __future__ import annotations

import pytest

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.jobs.image_streams import ImageStreams
from dataimportcron.errors import ImageNotFoundError, InvalidReferenceError
from dataimportcron.values import ImageSource

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "imagestreams.image.openshift.io"},
    "spec": {
        "group": "image.openshift.io",
        "scope": "Namespaced",
        "names": {"plural": "imagestreams", "singular": "imagestream", "kind": "ImageStream", "shortNames": ["is"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
DIGEST = f"sha256:{'9' * 64}"
STREAM = {
    "apiVersion": "image.openshift.io/v1",
    "kind": "ImageStream",
    "metadata": {"name": "rhel9", "namespace": "default"},
    "status": {
        "tags": [
            {"tag": "latest", "items": [{"image": DIGEST, "dockerImageReference": f"reg:5000/golden/rhel9@{DIGEST}"}]}
        ]
    },
}


def source(image_stream):
    return ImageSource(namespace="default", url="", pull_method="node", image_stream=image_stream)


@pytest.fixture
async def streams(control_plane):
    async with connected(kubeconfig=str(control_plane.kubeconfig)) as connection:
        yield ImageStreams(connection)


async def test_a_cluster_without_image_streams(streams, control_plane):
    control_plane.kubectl("delete", "crd", "--ignore-not-found", DEFINITION["metadata"]["name"])
    with pytest.raises(ImageNotFoundError, match="ImageStream default/rhel9 not found"):
        await streams.resolve(source("rhel9"))


async def test_an_image_stream(streams, control_plane):
    control_plane.define(DEFINITION)
    control_plane.apply(STREAM)
    found = await streams.resolve(source("rhel9"))
    assert (found.digest, found.image) == (DIGEST, f"reg:5000/golden/rhel9@{DIGEST}")
    assert await streams.resolve(source("rhel9:latest")) == found
    with pytest.raises(ImageNotFoundError, match="default/rhel9 has no tag 8"):
        await streams.resolve(source("rhel9:8"))
    with pytest.raises(ImageNotFoundError, match="ImageStream default/absent not found"):
        await streams.resolve(source("absent"))
    with pytest.raises(InvalidReferenceError, match="Illegal ImageStream name"):
        await streams.resolve(source("rhel9:"))
