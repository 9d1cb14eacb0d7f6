"""Facts for planning, in few words."""

from dataclasses import replace
from datetime import UTC, datetime

from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase
from dataimportcron.api.meta import Condition
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.manifests import (
    data_source_of,
    import_of,
    pointed_to,
    with_annotations,
    with_promoted_import,
    with_status,
)
from dataimportcron.messages import Trigger
from dataimportcron.values import ResolvedImage
from tests.support.home import DATA_SOURCE, cron_document

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def a_cron(annotations=None, **spec) -> DataImportCron:
    cron = DataImportCron.model_validate(cron_document(**spec))
    return with_annotations(cron, annotations or {})


def an_import(digest, phase=Phase.SUCCEEDED, *, cron=None, at=NOW) -> DataVolume:
    volume = import_of(cron or a_cron(), naming.import_name(DATA_SOURCE, digest), digest, digest, at)
    return with_status(volume, phase=str(phase))


def failing(volume, phase=Phase.IMPORT_IN_PROGRESS) -> DataVolume:
    broken = Condition(type="Running", status="False", reason="Error", message="it broke")
    return with_status(volume, phase=str(phase), conditions=[broken])


def resolved(digest, manifest=None) -> ResolvedImage:
    return ResolvedImage(digest=digest, manifest_digest=manifest or digest)


def facts(cron, **values) -> planning.Facts:
    return replace(planning.Facts(cron=cron, trigger=Trigger.TICK, now=NOW), **values)


def settled(cron, volume) -> tuple[DataImportCron, DataSource]:
    digest = volume.metadata.annotations[naming.ANNOTATION_DIGEST]
    done = with_promoted_import(cron, volume.metadata.name, digest, NOW)
    return done, pointed_to(data_source_of(cron), cron, volume)


def condition(cron, wanted):
    return next((c.status, c.reason, c.message) for c in cron.status.conditions if c.type == wanted)
