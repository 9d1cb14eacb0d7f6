"""Which change matters to whom: a hash of just what planning and preparation read.

Status, generation and the annotations that we write ourselves are left out, or our own writes would wake us for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import is_

from dataimportcron import naming
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.kept import is_ready, progress_of
from dataimportcron.manifests import clone_source, source_of
from dataimportcron.projection import erroneous, failure_of, waiting_for
from dataimportcron.values import ClaimState, Placement, SourceKind
from worker.binding.world import World

_INPUTS = (
    naming.ANNOTATION_POLL_REQUESTED,
    naming.ANNOTATION_NEXT_CRON_TIME,
    naming.ANNOTATION_SUSPEND,
    naming.ANNOTATION_MOVING,
)

_POINTERS = 2
"""DataSources on the way from a DataVolume to its source: one may point to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """The objects that a look of a cron depends on."""

    cron: DataImportCron
    managed: DataSource | None
    imports: Sequence[DataVolume]
    rivals: Sequence[DataImportCron]
    dependencies: Sequence[ConfigMap | Secret]
    snapshots: Sequence[VolumeSnapshot]
    placement: Placement | None

    def objects(self) -> list[object]:
        """All of them; None stands for what is not there."""
        return [
            self.cron,
            self.managed,
            *self.imports,
            *self.rivals,
            *self.dependencies,
            *self.snapshots,
            self.placement,
        ]


class Fingerprints:
    """Fingerprints of crons, made anew where one of the objects is another than it was.

    A home hands out the same object until it changes, and nobody changes an object.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[object], str]] = {}

    def of_cron(self, cron: DataImportCron, world: World) -> str:
        """See the function of that name."""
        facts = _around(cron, world)
        objects, known = facts.objects(), self._known.get(cron.metadata.uid)
        made = known[1] if known is not None and _differ_by_our_writes(known[0], objects) else _of_cron(facts)
        self._known[cron.metadata.uid] = (objects, made)
        return made

    def polled(self, crons: Iterable[DataImportCron]) -> None:
        """Take these for what they were before they were polled, so that nobody keeps what they were."""
        for cron in crons:
            known = self._known.get(cron.metadata.uid)
            if known is not None:
                known[0][0] = cron

    def forget(self) -> None:
        """Make all of them anew."""
        self._known.clear()


def is_as_before(before: World, now: World) -> bool:
    """Whether nothing is another than it was, except that crons may have been polled: then nobody has any news.

    At a tick the crons of a thousand are polled for seconds, and each second something has changed.
    """
    return (
        len(before.crons) == len(now.crons)
        and are_same(before.others, now.others)
        and (before.placements, before.claims) == (now.placements, now.claims)
        and all(map(_is_as_it_was, before.crons.values(), now.crons.values()))
    )


def are_same(before: Sequence[object], now: Sequence[object]) -> bool:
    """Whether all are the very objects that they were."""
    return len(before) == len(now) and all(map(is_, before, now))


def _differ_by_our_writes(before: Sequence[object], now: Sequence[object]) -> bool:
    """Whether all are the very objects that they were, except that the cron, the first, may have been polled."""
    was, cron = before[0], now[0]
    if not isinstance(was, DataImportCron) or not isinstance(cron, DataImportCron):
        raise TypeError
    return are_same(before[1:], now[1:]) and _is_as_it_was(was, cron)


def _is_as_it_was(was: DataImportCron, cron: DataImportCron) -> bool:
    """Whether it is the very cron that it was, or differs by what we write of a poll."""
    return was is cron or (
        was.metadata.uid == cron.metadata.uid
        and (was.spec is cron.spec or was.spec == cron.spec)
        and was.metadata.labels == cron.metadata.labels
        and _inputs(was) == _inputs(cron)
    )


def of_cron(cron: DataImportCron, world: World) -> str:
    """What a look of the cron depends on, apart from the registry."""
    return _of_cron(_around(cron, world))


def _around(cron: DataImportCron, world: World) -> _Around:
    namespace = cron.metadata.namespace
    managed = world.data_sources.get((namespace, cron.spec.managed_data_source))
    imports, snapshots = world.imports(cron), world.kept(cron)
    labelled = [*([managed] if managed else []), *imports, *snapshots]
    owners = {item.metadata.labels.get(naming.LABEL_CRON, "") for item in labelled} - {cron.metadata.name}
    return _Around(
        cron=cron,
        managed=managed,
        imports=imports,
        rivals=[world.crons[namespace, owner] for owner in sorted(owners) if (namespace, owner) in world.crons],
        dependencies=world.dependencies(cron),
        snapshots=snapshots,
        placement=world.placement(cron),
    )


def _of_cron(facts: _Around) -> str:
    cron = facts.cron
    managed = facts.managed if facts.managed is not None and not _is_as_made(facts.managed, cron) else None
    return _digest(
        [
            cron.metadata.uid,
            cron.metadata.labels,
            _inputs(cron),
            _plain(cron.spec),
            _of_data_source(managed) if managed else None,
            [_of_import(item) for item in facts.imports],
            [_of_rival(item) for item in facts.rivals],
            [_of_dependency(item) for item in facts.dependencies],
            [_of_snapshot(item) for item in facts.snapshots],
            asdict(facts.placement) if facts.placement else None,
        ]
    )


def _inputs(cron: DataImportCron) -> dict[str, str]:
    """The annotations with which a person asks for something."""
    annotations = cron.metadata.annotations
    inputs = {key: annotations[key] for key in _INPUTS if key in annotations}
    if not cron.spec.schedule:
        inputs[naming.ANNOTATION_DESIRED_DIGEST] = annotations.get(naming.ANNOTATION_DESIRED_DIGEST, "")
    return inputs


def of_volume(volume: DataVolume, world: World) -> str:
    """What the preparation of a DataVolume depends on: its place, and the source that it clones from, if it does."""
    own = volume.metadata
    claim = (world.claims or {}).get((own.namespace, own.name))
    return _digest([own.uid, _of_place(volume, claim), *_sources(volume, world)])


def _of_place(volume: DataVolume, claim: ClaimState | None) -> object:
    """What stands in the place of a volume; that its own claim has been made is no news."""
    if claim is None or (claim.owner == volume.metadata.uid and not claim.state):
        return None
    return [claim.uid, claim.owner, claim.state, claim.whole and claim.owner != volume.metadata.uid]


def _sources(volume: DataVolume, world: World) -> Iterator[object]:
    """What leads from a clone to its source, as far as it is there."""
    namespace, reference, source = volume.metadata.namespace, volume.spec.source_ref, volume.spec.source
    cloned = clone_source(source.pvc, source.snapshot, namespace) if source else None
    place = (reference.namespace or namespace, reference.name) if reference else None
    for _ in range(_POINTERS):
        data_source = world.data_sources.get(place) if place else None
        if place is None or data_source is None:
            break
        yield _of_data_source(data_source)
        cloned, pointer, namespace = source_of(data_source), data_source.spec.source.data_source, place[0]
        place = (pointer.namespace or namespace, pointer.name) if pointer else None
    if cloned is None:
        return
    origin = cloned.namespace, cloned.name
    if cloned.kind is SourceKind.SNAPSHOT:
        snapshot = world.snapshots.get(origin)
        yield [_key(snapshot), is_ready(snapshot), progress_of(snapshot)] if snapshot is not None else None
        return
    populated, claim = world.data_volumes.get(origin), (world.claims or {}).get(origin)
    if populated is not None:
        yield _of_volume(populated)
    if claim is not None:
        yield [claim.uid, claim.whole, claim.state]


def _of_data_source(data_source: DataSource) -> list[object]:
    return [_key(data_source), data_source.metadata.labels, _plain(data_source.spec)]


def _is_as_made(data_source: DataSource, cron: DataImportCron) -> bool:
    """Whether it is as the cron's first look makes it, which is no news to the cron that has made it."""
    points = data_source.spec.source.model_dump(exclude_none=True)
    return not points and data_source.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name


def _of_volume(volume: DataVolume) -> list[object]:
    return [_key(volume), volume.status.phase, failure_of(volume) if erroneous(volume) else waiting_for(volume)]


def _of_import(volume: DataVolume) -> list[object]:
    """Whose import it is decides whether another cron may take it over."""
    return [*_of_volume(volume), volume.metadata.labels.get(naming.LABEL_CRON)]


def _of_snapshot(snapshot: VolumeSnapshot) -> list[object]:
    """Whose it is, and whether and how it can be restored from."""
    owner, made = snapshot.metadata.labels.get(naming.LABEL_CRON), snapshot.spec.volume_snapshot_class_name
    return [_key(snapshot), owner, made, is_ready(snapshot), progress_of(snapshot)]


def _of_rival(cron: DataImportCron) -> list[object]:
    """Another cron that a DataSource or an import is labelled for: what counts is that it lives and what it manages."""
    return [_key(cron), cron.spec.managed_data_source]


def _of_dependency(dependency: ConfigMap | Secret) -> list[object]:
    return [_key(dependency), dependency.metadata.resource_version]


def _key(resource: Resource) -> str:
    metadata = resource.metadata
    return f"{resource.kind}/{metadata.namespace}/{metadata.name}/{metadata.uid}"


def _plain(model: object) -> object:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)  # type: ignore[attr-defined]  # any model


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
