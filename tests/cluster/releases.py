"""Images that the tests with a cluster put into its registry."""

from __future__ import annotations

import io
import tarfile

import pytest

from deploy.image.build import CHECKOUT, build, cache
from tests.cluster.full import Cluster
from tests.cluster.objects import IMPORTER


@pytest.fixture(scope="session")
def program(cluster: Cluster) -> str:
    """Our own image, by digest."""
    made = build(CHECKOUT, cache())
    return f"{cluster.registry}/dataimportcron@{cluster.push(made.path, 'dataimportcron:latest')}"


def layer_of(**files: bytes) -> bytes:
    """A layer with these files, which belong to QEMU and which only that may read."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.gid, member.mode = len(content), IMPORTER, IMPORTER, 0o440
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()
