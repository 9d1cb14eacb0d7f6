"""The port `Authorizer` in a cluster: what is in another namespace is not cloned before its owner's rules are asked."""

from __future__ import annotations

from dataimportcron.api.types import Resource
from dataimportcron.ports import CloneSource


class ClusterAuthorizer:
    """`ports.Authorizer`."""

    async def refusal(self, wanted: Resource, source: CloneSource) -> str:
        """See the port."""
        if wanted.metadata.namespace == source.namespace:
            return ""
        return f"{wanted.kind} {wanted.metadata.name} may not be cloned from namespace {source.namespace}"
