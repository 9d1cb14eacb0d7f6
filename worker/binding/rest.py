"""Whether a look of a cron would change nothing: its execution knows that already, and is left to sleep.

Each look costs a dozen events of a history, and each resync would make one of every cron. So what a look does is asked
of `planning` here, about the same facts; whatever is in doubt gets its look.
"""

from __future__ import annotations

from datetime import datetime

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataImportCron
from dataimportcron.messages import Trigger, Verdict
from dataimportcron.planning import Facts, plan
from dataimportcron.polling import poll_due
from dataimportcron.ports import Volumes
from dataimportcron.pruning import pointed_by
from dataimportcron.values import SourceKind
from worker.binding.world import World


async def is_at_rest(cron: DataImportCron, world: World, volumes: Volumes, now: datetime) -> bool:
    """Whether nothing would come of a look.

    Args:
        cron: as stored.
        world: all objects.
        volumes: of the home.
        now: a clock.
    """
    namespace, own = cron.metadata.namespace, cron.metadata.name
    data_source = world.data_sources.get((namespace, cron.spec.managed_data_source))
    imports = tuple(world.imports(cron))
    source = cron.spec.template.spec.source
    if source is None or source.registry is None or data_source is None or poll_due(cron, Trigger.CHANGE, now):
        return False
    if world.claims is not None or world.placement(cron) is not None or world.kept(cron):
        return False  # a look asks more in a cluster than what is read here
    if any(item.metadata.labels.get(naming.LABEL_CRON) != own for item in (data_source, *imports)):
        return False
    complete = [it.metadata for it in imports if it.status.phase == Phase.SUCCEEDED]
    lost = [it.name for it in complete if await volumes.find(it.namespace, it.name) is None]
    facts = Facts(
        cron=cron,
        trigger=Trigger.CHANGE,
        now=now,
        imports=imports,
        lost=frozenset(lost),
        data_source=data_source,
        pointed=pointed_by(world.data_sources.values(), namespace, SourceKind.PVC),
    )
    planned = plan(facts)
    return planned.decision.verdict is Verdict.WAIT and planned.cron == cron
