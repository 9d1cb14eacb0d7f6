"""The port `Cloner` in a cluster. Beside CDI clones are CDI's; standalone, they are not served yet."""

from __future__ import annotations

from collections.abc import Callable

from dataimportcron.errors import InvalidObjectError
from dataimportcron.ports import CloneSource, Transfer, VolumeSpec

_HINT = "install KubeVirt CDI, beside which this program runs, or clone by the CSI driver: a claim's dataSource"


class ClusterCloner:
    """`ports.Cloner`."""

    async def run(self, source: CloneSource, volume: VolumeSpec, report: Callable[[Transfer], None]) -> Transfer:  # noqa: ARG002 -- the port's
        """See the port."""
        raise InvalidObjectError(
            f"DataVolume {volume.namespace}/{volume.name}: clones are not served in a cluster without CDI", hint=_HINT
        )

    async def blank(self, volume: VolumeSpec) -> None:
        """See the port."""
        raise InvalidObjectError(
            f"DataVolume {volume.namespace}/{volume.name}: blank volumes are not served in a cluster without CDI",
            hint=_HINT,
        )
