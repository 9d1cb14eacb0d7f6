"""Moving a cron from CDI to us, and back, as steps that are data.

Whoever runs them reads the facts, asks for the steps, does the first and asks again, until none is left. So a run
that was killed goes on where it was, and a dry run prints the very steps. What CDI's cron knows and its end would lose
(which claim holds which digest) is noted on ours when that is made, which is the first step.

The order matters. CDI reconciles a cron whenever anything with its label changes, and labels the current import anew;
once the cron is gone it removes what has the clean-up label, and nothing else. So CDI's cron goes before any label
does, and none with `retentionPolicy: None` is moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, cast

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import CDI_GROUP, OWN_GROUP, VERSION, DataImportCron
from dataimportcron.api.validation import read
from dataimportcron.cluster.client.resources import (
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    PVCS,
    Json,
    ResourceType,
)
from dataimportcron.cluster.documents.dialect import OWN_LABEL_CLEANUP, OWN_LABEL_CRON
from dataimportcron.cluster.documents.plain_volumes import ANNOTATION_PHASE
from dataimportcron.cluster.documents.records import annotations_of, record_of
from dataimportcron.errors import AlreadyExistsError, InUseError, InvalidObjectError
from dataimportcron.manifests import import_of
from dataimportcron.reference import is_digest

ANNOTATION_MIGRATED: Final = "dataimportcron.io/migrated-from-cdi"
"""On our cron, as JSON: `imports`, the digest of each claim by its name, and `resume`, whether it is to be woken up."""

_OPERATORS: Final = ("operator-sdk/primary-resource", "operator-sdk/primary-resource-type")
_POD_PHASE: Final = "cdi.kubevirt.io/storage.pod.phase"
"""On a claim: how far CDI's pod came; a claim may outlive the DataVolume that would tell."""
_NOT_COPIED: Final = ("kubectl.kubernetes.io/last-applied-configuration", "cdi.kubevirt.io/")


class Action(StrEnum):
    """What a step does."""

    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"
    ORPHAN = "orphan"
    """Delete an object, and leave what it owns."""
    ADOPT = "adopt"
    """Make a claim one of our imports; `body` is the DataVolume that it stands for from then on."""
    RELEASE = "release"
    """Take from a claim what makes it one of our imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One write.

    Attributes:
        action: what is done.
        resource: of the object.
        namespace: of the object.
        name: of the object.
        why: what it is for, as a sentence for a person.
        body: the object, or the merge patch.
        uid: the object must be this one, "" where there is none yet.
        resource_version: and unchanged since it was read.
    """

    action: Action
    resource: ResourceType
    namespace: str
    name: str
    why: str
    body: Json = field(default_factory=dict)
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read, as plain JSON.

    Attributes:
        namespace: of all of it.
        name: of the cron, in both groups.
        theirs: CDI's cron, None where there is none.
        ours: our cron of the same name, None where there is none.
        data_source: the DataSource that the cron manages, None where there is none.
        volumes: CDI's DataVolumes of the namespace.
        claims: the PersistentVolumeClaims of the namespace.
    """

    namespace: str
    name: str
    theirs: Json | None = None
    ours: Json | None = None
    data_source: Json | None = None
    volumes: tuple[Json, ...] = ()
    claims: tuple[Json, ...] = ()


OWN_CRONS: Final = DATA_IMPORT_CRONS.of_group(OWN_GROUP)


def to_us(facts: Facts) -> tuple[Step, ...]:
    """The steps that are left on the way from CDI to us; none when all is done.

    Raises:
        InvalidObjectError: the cron cannot be moved as it is; the hint names the setting to change.
        AlreadyExistsError: there is a cron of ours that was not made for this.
    """
    origin = _origin(facts)
    if facts.theirs is not None:
        _check(facts, facts.theirs)
    if facts.ours is not None and origin is None:
        raise AlreadyExistsError(
            f"DataImportCron {facts.namespace}/{facts.name} of {OWN_GROUP} exists already",
            hint="it was not made by a migration; delete one of the two crons",
        )
    if origin is not None:
        return tuple(_steps_to_us(facts, origin))
    if facts.theirs is None:
        raise InvalidObjectError(
            f"there is no DataImportCron {facts.namespace}/{facts.name} of {CDI_GROUP}",
            hint=f"kubectl get dataimportcrons.{CDI_GROUP} -A lists them",
        )
    origin = {"imports": _imports(facts, facts.theirs), "resume": not _suspended(facts.theirs)}
    return (_create_ours(facts, facts.theirs, origin), *_steps_to_us(facts, origin))


def _steps_to_us(facts: Facts, origin: Json) -> Iterator[Step]:
    if facts.theirs is not None:
        imports = _imports(facts, facts.theirs)
        if facts.ours is not None and imports != origin["imports"]:
            origin = origin | {"imports": imports}
            patch: Json = {"metadata": {"annotations": {ANNOTATION_MIGRATED: json.dumps(origin, sort_keys=True)}}}
            yield _on(Action.PATCH, OWN_CRONS, facts.ours, "CDI has imported meanwhile", patch)
        yield _on(Action.DELETE, DATA_IMPORT_CRONS, facts.theirs, "CDI polls no more; its images stay (All)")
    noted = {it["metadata"]["name"]: annotations_of(it).get(naming.ANNOTATION_DIGEST, "") for it in _of_cdi(facts)}
    imports = {name: digest for name, digest in noted.items() if digest} | origin["imports"]
    volumes = {it["metadata"]["name"]: it for it in facts.volumes}
    for volume in facts.volumes:
        if _labels(volume).get(naming.LABEL_CRON) == facts.name and not _complete(volume):
            yield _on(Action.DELETE, DATA_VOLUMES, volume, "it is unfinished; our cron imports it anew")
    for claim in facts.claims:
        name = claim["metadata"]["name"]
        if name in imports and OWN_LABEL_CRON not in _labels(claim):
            if name in volumes:
                yield _on(Action.ORPHAN, DATA_VOLUMES, volumes[name], "the claim stands for itself from now on")
            yield _adopt(facts, claim, imports[name])
    if facts.data_source is not None and _labels(facts.data_source).get(naming.LABEL_CRON) == facts.name:
        labels: Json = {naming.LABEL_CRON: None, naming.LABEL_CLEANUP: None, OWN_LABEL_CRON: facts.name}
        patch = {"metadata": {"labels": labels}}
        yield _on(Action.PATCH, DATA_SOURCES, facts.data_source, "our cron moves it from now on", patch)
    if origin["resume"] or facts.ours is None or naming.ANNOTATION_MOVING in annotations_of(facts.ours):
        yield _resume(facts, origin)


def _resume(facts: Facts, origin: Json) -> Step:
    """Our cron as it is from now on: it rests only where somebody has told CDI's, or it, to."""
    annotations: Json = {naming.ANNOTATION_MOVING: None}
    if origin["resume"]:
        done = json.dumps(origin | {"resume": False}, sort_keys=True)
        annotations |= {naming.ANNOTATION_SUSPEND: None, ANNOTATION_MIGRATED: done}
    why = "it polls from now on" if origin["resume"] else "it rests, as CDI's did"
    return _on(Action.PATCH, OWN_CRONS, facts.ours or _identity(facts), why, {"metadata": {"annotations": annotations}})


def to_cdi(facts: Facts) -> tuple[Step, ...]:
    """The steps that are left on the way back from us to CDI; none when all is done.

    Raises:
        InvalidObjectError: there is no cron of ours to go back from.
        InUseError: an import runs; it can be moved later.
    """
    if facts.ours is None:
        if facts.theirs is None:
            raise InvalidObjectError(
                f"there is no DataImportCron {facts.namespace}/{facts.name} of {OWN_GROUP}",
                hint=f"kubectl get dataimportcrons.{OWN_GROUP} -A lists them",
            )
        return ()
    _check_idle(facts, facts.ours)
    return tuple(_steps_to_cdi(facts, facts.ours))


def _steps_to_cdi(facts: Facts, ours: Json) -> Iterator[Step]:
    if naming.ANNOTATION_MOVING not in annotations_of(ours):
        annotations = {naming.ANNOTATION_MOVING: "true", naming.ANNOTATION_SUSPEND: "true"}
        if (origin := _origin(facts)) and not _suspended(ours):  # who turns round on the way back gets one that polls
            annotations[ANNOTATION_MIGRATED] = json.dumps(origin | {"resume": True}, sort_keys=True)
        patch: Json = {"metadata": {"annotations": annotations}}
        yield _on(Action.PATCH, OWN_CRONS, ours, "it polls no more, and looks after none of its imports", patch)
    for claim in facts.claims:
        if _labels(claim).get(OWN_LABEL_CRON) != facts.name:
            continue
        if record_of(claim) is None and annotations_of(claim).get(ANNOTATION_PHASE) != Phase.SUCCEEDED:
            # CDI takes every claim of the name for complete.
            yield _on(Action.DELETE, PVCS, claim, "it is unfinished; CDI's cron imports it anew")
        else:
            patch = {"metadata": {"labels": _labels_of_cdi(facts, claim)}}
            yield _on(Action.RELEASE, PVCS, claim, "CDI finds it by name and label", patch)
    if facts.data_source is not None and _labels(facts.data_source).get(OWN_LABEL_CRON) == facts.name:
        patch = {"metadata": {"labels": _labels_of_cdi(facts, facts.data_source)}}
        yield _on(Action.PATCH, DATA_SOURCES, facts.data_source, "CDI's cron moves it from now on", patch)
    if facts.theirs is None:
        yield _create_theirs(facts, ours)
    if ours["spec"].get("retentionPolicy") == "None":
        # CDI's has it from now on; a worker that has not yet seen the claims change hands would remove them.
        patch = {"spec": {"retentionPolicy": "All"}}
        yield _on(Action.PATCH, OWN_CRONS, ours, "its end must not take the images along", patch)
    yield _on(Action.DELETE, OWN_CRONS, ours, "nothing has its label any more, so nothing goes with it")


def _labels_of_cdi(facts: Facts, target: Json) -> Json:
    """A merge patch of an object's labels, so that CDI's cron has it."""
    ours = (OWN_LABEL_CRON, OWN_LABEL_CLEANUP)
    managed = [naming.LABEL_MANAGED_BY] if _labels(target).get(naming.LABEL_MANAGED_BY) == naming.MANAGED_BY else []
    return {**dict.fromkeys([*ours, *managed]), naming.LABEL_CRON: facts.name}


def _check(facts: Facts, theirs: Json) -> None:
    name = f"DataImportCron {facts.namespace}/{facts.name}"
    metadata = theirs["metadata"]
    owners = [f"{owner['kind']} {owner['name']}" for owner in metadata.get("ownerReferences") or ()]
    manager = _labels(theirs).get("app.kubernetes.io/managed-by", "")
    if owners or manager.endswith("-operator") or any(key in annotations_of(theirs) for key in _OPERATORS):
        raise InvalidObjectError(
            f"{name} belongs to {', '.join(owners) or manager or 'an operator'}, which would make it again",
            hint="switch it off there first: in the HyperConverged object give the entry of that name in "
            'dataImportCronTemplates the annotation dataimportcrontemplate.kubevirt.io/enable: "false"',
        )
    if theirs["spec"].get("retentionPolicy") == "None":
        raise InvalidObjectError(
            f"{name} has retentionPolicy None: CDI would remove its images with it",
            hint="CDI lets nobody change it; delete the cron, apply it anew with retentionPolicy: All, "
            "and move it when its import is complete",
        )
    for thing in (*_of_cdi(facts), *facts.volumes, facts.data_source or {"metadata": {}}):
        labels = _labels(thing)
        if labels.get(naming.LABEL_CRON) == facts.name and labels.get(naming.LABEL_CLEANUP) == "true":
            what = f"{thing['kind']} {facts.namespace}/{thing['metadata']['name']}"
            raise InvalidObjectError(
                f"{what} has the label {naming.LABEL_CLEANUP}: CDI would remove it with its cron",
                hint=f"take it off: kubectl label {thing['kind']} -n {facts.namespace} {thing['metadata']['name']} "
                f"{naming.LABEL_CLEANUP}-",
            )


def _check_idle(facts: Facts, cron: Json) -> None:
    conditions = (cron.get("status") or {}).get("conditions") or ()
    if any(it["type"] == "Progressing" and it["status"] == "True" for it in conditions):
        raise InUseError(
            f"DataImportCron {facts.namespace}/{facts.name} is importing", hint="try again when the import is complete"
        )
    if facts.theirs is not None and "deletionTimestamp" in facts.theirs["metadata"]:
        raise InUseError(
            f"DataImportCron {facts.namespace}/{facts.name} of {CDI_GROUP} is still being deleted",
            hint="try again when it is gone; CDI's controller must run for that",
        )


def _origin(facts: Facts) -> Json | None:
    text = annotations_of(facts.ours).get(ANNOTATION_MIGRATED) if facts.ours else None
    if text is None:
        return None
    try:
        origin: Json = json.loads(text)
    except ValueError as error:
        raise InvalidObjectError(
            f"DataImportCron {facts.namespace}/{facts.name}: annotation {ANNOTATION_MIGRATED} is no JSON",
            hint="delete the cron of ours, CDI's is still there, and migrate again" if facts.theirs else "",
        ) from error
    return origin


def _imports(facts: Facts, theirs: Json) -> dict[str, str]:
    """The digest of each complete import, which the end of CDI's cron would lose, by the name of its claim."""
    current = {it["DataVolumeName"]: it["Digest"] for it in (theirs.get("status") or {}).get("currentImports") or ()}
    unfinished = {it["metadata"]["name"] for it in facts.volumes if not _complete(it)}
    found = {}
    for claim in _of_cdi(facts):
        name, noted = claim["metadata"]["name"], annotations_of(claim).get(naming.ANNOTATION_DIGEST, "")
        digest = current.get(name) or noted or _digest_of(facts, name)
        complete = annotations_of(claim).get(_POD_PHASE, Phase.SUCCEEDED) == Phase.SUCCEEDED
        if digest and complete and name not in unfinished:
            found[name] = digest
    return found


def _of_cdi(facts: Facts) -> list[Json]:
    """The claims that CDI's cron has made."""
    return [it for it in facts.claims if _labels(it).get(naming.LABEL_CRON) == facts.name]


def _complete(volume: Json) -> bool:
    return bool((volume.get("status") or {}).get("phase") == Phase.SUCCEEDED)


def _digest_of(facts: Facts, name: str) -> str:
    """The digest in the URL of the DataVolume that made a claim, "" where nothing tells."""
    for volume in facts.volumes:
        if volume["metadata"]["name"] == name:
            registry = (volume["spec"].get("source") or {}).get("registry") or {}
            digest = str(registry.get("url", "")).rpartition("@")[2]
            return digest if is_digest(digest) else ""
    return ""


def _create_ours(facts: Facts, theirs: Json, origin: Json) -> Step:
    """Our cron, resting until all is moved."""
    annotations = _own_annotations(theirs) | {
        ANNOTATION_MIGRATED: json.dumps(origin, sort_keys=True),
        naming.ANNOTATION_MOVING: "true",
        naming.ANNOTATION_SUSPEND: "true",
    }
    why = "our cron, which rests until all is moved; it notes what CDI's knows"
    return _create(facts, OWN_CRONS, OWN_GROUP, theirs, annotations, why)


def _create_theirs(facts: Facts, ours: Json) -> Step:
    annotations = {key: value for key, value in _own_annotations(ours).items() if not key.startswith(f"{OWN_GROUP}/")}
    why = "CDI's cron, which finds the import of its digest"
    return _create(facts, DATA_IMPORT_CRONS, CDI_GROUP, ours, annotations, why)


def _create(  # noqa: PLR0913, PLR0917 -- the parts of a cron
    facts: Facts, resource: ResourceType, group: str, like: Json, annotations: dict[str, str], why: str
) -> Step:
    """A cron with the other one's spec and labels; a digest that somebody else looks up is taken along."""
    digest = annotations_of(like).get(naming.ANNOTATION_DESIRED_DIGEST)
    if digest:
        annotations = annotations | {naming.ANNOTATION_DESIRED_DIGEST: digest}
    body = _identity(facts, group)
    body["metadata"] |= {"labels": _labels(like), "annotations": annotations}
    return Step(
        action=Action.CREATE,
        resource=resource,
        namespace=facts.namespace,
        name=facts.name,
        why=why,
        body=body | {"spec": like["spec"]},
    )


def _adopt(facts: Facts, claim: Json, digest: str) -> Step:
    """The claim as a complete import of ours, with the time of its last use as CDI has noted it."""
    document = _identity(facts, CDI_GROUP) | {"spec": (facts.ours or facts.theirs or {})["spec"]}
    cron, at = cast("DataImportCron", read(document)), datetime.min.replace(tzinfo=UTC)
    made = import_of(cron, claim["metadata"]["name"], digest, "", at)
    annotations = {naming.ANNOTATION_DIGEST: digest}
    used = annotations_of(claim).get(naming.ANNOTATION_LAST_USE_TIME)
    if used:
        annotations[naming.ANNOTATION_LAST_USE_TIME] = used
    body: Json = {
        "metadata": {"labels": {naming.LABEL_CRON: facts.name}, "annotations": annotations},
        "spec": made.document()["spec"],
        "status": {"phase": str(Phase.SUCCEEDED), "progress": "100.0%"},
    }
    return _on(Action.ADOPT, PVCS, claim, f"an import of ours, of {digest}", body)


def _on(action: Action, resource: ResourceType, target: Json, why: str, body: Json | None = None) -> Step:
    """A step on an object as it was read."""
    metadata = target["metadata"]
    return Step(
        action=action,
        resource=resource,
        namespace=metadata["namespace"],
        name=metadata["name"],
        why=why,
        body=body or {},
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
    )


def _identity(facts: Facts, group: str = OWN_GROUP) -> Json:
    metadata = {"name": facts.name, "namespace": facts.namespace}
    return {"apiVersion": f"{group}/{VERSION}", "kind": DATA_IMPORT_CRONS.kind, "metadata": metadata}


def _own_annotations(cron: Json) -> dict[str, str]:
    """The annotations that are its user's."""
    return {key: value for key, value in annotations_of(cron).items() if not key.startswith(_NOT_COPIED)}


def _labels(target: Json) -> dict[str, str]:
    return dict(target["metadata"].get("labels") or {})


def _suspended(cron: Json) -> bool:
    return annotations_of(cron).get(naming.ANNOTATION_SUSPEND, "").lower() == "true"
