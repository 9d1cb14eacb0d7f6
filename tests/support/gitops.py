"""Objects as an API server gives them, at moments that a GitOps tool must tell apart, and what it should call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """An object, and its health by Argo CD's and by Flux's words; "" where a tool has a check of its own."""

    name: str
    document: dict[str, Any]
    argo: str
    flux: str


def _document(kind: str, group: str, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    names = {"name": "fedora", "namespace": "golden-images", "generation": 2}
    return {"apiVersion": f"{group}/v1beta1", "kind": kind, "metadata": names | metadata, "spec": {}, "status": status}


def _conditions(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": f"what {reason} says",
                "lastTransitionTime": "2026-11-24T12:00:00Z",
            }
            for kind, status, reason in conditions
        ]
    }


def _cron(status: dict[str, Any], group: str = "dataimportcron.io", **metadata: Any) -> dict[str, Any]:
    return _document("DataImportCron", group, status, **metadata)


def _ours(ready: tuple[str, str], up_to_date: tuple[str, str], **more: Any) -> dict[str, Any]:
    progressing = "True" if "ImportProgressing" in up_to_date else "False"
    three = (("Ready", *ready), ("UpToDate", *up_to_date), ("Progressing", progressing, "x"))
    return _conditions(*three) | {"observedGeneration": 2} | more


_CDI = "cdi.kubevirt.io"
_SUSPENDED = {"dataimportcron.io/suspend": "true"}
_UP_TO_DATE = ("True", "UpToDate")
_READY = ("True", "Ready")


def _waits(reason: str) -> dict[str, Any]:
    return _ours(("False", reason), ("False", reason))


MOMENTS = (
    Moment("no condition yet", _cron({}), "Progressing", "InProgress"),
    Moment("no digest", _cron(_waits("NoDigest")), "Progressing", "InProgress"),
    Moment("first import", _cron(_waits("ImportProgressing")), "Progressing", "InProgress"),
    Moment("first poll refused", _cron(_waits("Unauthorized")), "Degraded", "Failed"),
    Moment("first import fails", _cron(_waits("ImportFailed")), "Degraded", "Failed"),
    Moment("registry down", _cron(_waits("RegistryUnavailable")), "Progressing", "InProgress"),
    Moment("invalid", _cron(_waits("InvalidSpec")), "Degraded", "Failed"),
    Moment("up to date", _cron(_ours(_READY, _UP_TO_DATE)), "Healthy", "Current"),
    Moment("a newer one comes", _cron(_ours(_READY, ("False", "ImportProgressing"))), "Healthy", "Current"),
    Moment("a later poll fails", _cron(_ours(_READY, ("False", "Unauthorized"))), "Healthy", "Current"),
    Moment("changed", _cron(_ours(_READY, _UP_TO_DATE, observedGeneration=1)), "Progressing", "InProgress"),
    Moment("suspended", _cron(_waits("NoDigest"), annotations=_SUSPENDED), "Suspended", "Current"),
    Moment("CDI's, done", _cron(_conditions(("UpToDate", *_UP_TO_DATE)), _CDI), "Healthy", "Current"),
    Moment("CDI's, not yet", _cron(_conditions(("UpToDate", "False", "Outdated")), _CDI), "Progressing", "InProgress"),
    Moment(
        "source ready",
        _document("DataSource", _CDI, _conditions(("Ready", "True", "Ready"))),
        "Healthy",
        "Current",
    ),
    Moment(
        "source not there",
        _document("DataSource", _CDI, _conditions(("Ready", "False", "NotFound"))),
        "Progressing",
        "InProgress",
    ),
    Moment(
        "source is itself",
        _document("DataSource", _CDI, _conditions(("Ready", "False", "SelfReference"))),
        "Degraded",
        "Failed",
    ),
    Moment("volume done", _document("DataVolume", _CDI, {"phase": "Succeeded"}), "", "Current"),
    Moment("volume fills", _document("DataVolume", _CDI, {"phase": "ImportInProgress"}), "", "InProgress"),
    Moment("volume waits", _document("DataVolume", _CDI, {"phase": "WaitForFirstConsumer"}), "", "Current"),
    Moment(
        "volume fails",
        _document(
            "DataVolume",
            _CDI,
            {"phase": "ImportInProgress"} | _conditions(("Running", "False", "ImagePullFailed")),
        ),
        "",
        "Failed",
    ),
)
