"""Whether clones from one namespace into another can be authorised, which is the API server's work as well as ours."""

from __future__ import annotations

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.clones.requester import NAME, belief
from worker.doctor.finding import Finding, bad, good, note

_WHAT = "clones"


async def check(connection: Connection) -> list[Finding]:
    """Look at the policy that has the API server write on each DataVolume who has made it."""
    found = await belief(connection)
    if found.fault:
        say = bad if found.is_served else note
        return [say(_WHAT, f"none from one namespace into another: {found.fault}", found.hint)]
    return [good(_WHAT, f"by MutatingAdmissionPolicy {NAME} it is known who asks for one from another namespace")]
