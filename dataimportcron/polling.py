"""When the registry is asked: by schedule, by request, or because a change leaves no choice. Pure, like `planning`."""

from __future__ import annotations

from datetime import datetime, timedelta

from dataimportcron import naming
from dataimportcron.api.conditions import UpToDateReason
from dataimportcron.api.types import DataImportCron
from dataimportcron.manifests import image_source, parse_time
from dataimportcron.messages import Trigger
from dataimportcron.schedule import Schedule, jitter
from dataimportcron.values import CloneSource, ImageSource


def source_of(cron: DataImportCron) -> ImageSource | None:
    """The container disk that a cron follows; None where its template names no image in a registry."""
    source = cron.spec.template.spec.source
    return image_source(source.registry, cron.metadata.namespace) if source and source.registry else None


def clone_source_of(cron: DataImportCron) -> CloneSource | None:
    """The volume that a cron follows; None where its template names none."""
    pvc = cron.spec.template.spec.source.pvc if cron.spec.template.spec.source else None
    return CloneSource(namespace=pvc.namespace or cron.metadata.namespace, name=pvc.name) if pvc else None


def poll_due(cron: DataImportCron, trigger: Trigger, now: datetime) -> bool:
    """Whether the registry must be asked.

    A tick and a forced poll always ask. A change asks where no digest is known for the source as it stands now, where
    the last poll failed (the change may be its cure), or where an annotation requests a poll. With an empty schedule
    the digest is the user's to set (P-11). A cron that is suspended is polled when somebody asks for it, as a suspended
    CronJob runs when somebody makes a Job of it.
    """
    if trigger is Trigger.POLL or poll_requested(cron, now):
        return True
    if suspended(cron):
        return False
    if trigger is not Trigger.CHANGE:
        return True
    if not cron.spec.schedule:
        return False
    annotations = cron.metadata.annotations
    known = annotations.get(naming.ANNOTATION_DESIRED_DIGEST)
    return poll_failed(cron) or not known or annotations.get(naming.ANNOTATION_SOURCE) != source_key(cron)


def poll_requested(cron: DataImportCron, now: datetime) -> bool:
    """Whether one of the two annotations asks for a poll: ours by a new value, CDI's by a time in the past."""
    annotations = cron.metadata.annotations
    requested = annotations.get(naming.ANNOTATION_POLL_REQUESTED, "")
    if requested and requested != annotations.get(naming.ANNOTATION_POLL_SEEN):
        return True
    next_cron_time = parse_time(annotations.get(naming.ANNOTATION_NEXT_CRON_TIME, ""))
    return next_cron_time is not None and next_cron_time <= now


def poll_failed(cron: DataImportCron) -> bool:
    """Whether the last poll failed: UpToDate has the reason of an error then, which is none of its own."""
    up_to_date = (condition for condition in cron.status.conditions if condition.type == "UpToDate")
    return any(condition.reason not in set(UpToDateReason) for condition in up_to_date)


def suspended(cron: DataImportCron) -> bool:
    """Whether the cron is told to rest."""
    return cron.metadata.annotations.get(naming.ANNOTATION_SUSPEND, "").lower() == "true"


def source_key(cron: DataImportCron) -> str:
    """What the desired digest depends on, in words: the image and the architecture asked for, or the volume."""
    source, cloned = source_of(cron), clone_source_of(cron)
    if source is None:
        return f"{cloned.kind}:{cloned}" if cloned else ""
    image = source.url or f"imagestream:{source.image_stream}"
    return f"{image} {source.architecture}".rstrip()


def next_poll_of(cron: DataImportCron, after: datetime, window: timedelta) -> datetime | None:
    """The schedule's next tick, later by the cron's own jitter, so that equal schedules do not poll at one moment.

    None with an empty schedule, a suspended cron, or a date that never comes. The jitter is the same at each tick, less
    than `window`, and less than a tenth of the time between two ticks.

    Raises:
        InvalidScheduleError: the schedule is no cron expression.
    """
    if not cron.spec.schedule:
        return None
    schedule = Schedule.parse(cron.spec.schedule)
    tick = None if suspended(cron) else schedule.next_after(after)
    following = schedule.next_after(tick) if tick else None
    if tick is None or following is None:
        return None
    if "@every" in schedule.expression:
        # It counts from the last poll, not from whatever look comes in between; so equal ones are spread already.
        last = cron.status.last_execution_timestamp or cron.metadata.creation_timestamp or after
        return max(schedule.next_after(last) or after, after)
    late = jitter(naming.object_key(cron.metadata.namespace, cron.metadata.name), min(window, (following - tick) / 10))
    # A look between a tick and its own late poll must not pass over that poll.
    due = schedule.next_after(after - late)
    return due + late if due else None
