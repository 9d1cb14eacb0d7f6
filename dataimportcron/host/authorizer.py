"""The port `Authorizer` on one host: whoever may write objects there may read its volumes too."""

from __future__ import annotations

from dataimportcron.api.types import Resource
from dataimportcron.values import CloneSource


class HostAuthorizer:
    """`ports.Authorizer`."""

    async def refusal(self, wanted: Resource, source: CloneSource) -> str:  # noqa: ARG002 -- the port's
        """See the port."""
        return ""
