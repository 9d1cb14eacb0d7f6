"""What all kinds share: the base model, metadata, conditions.

Models are tolerant: they keep fields that they do not know, so that what another client wrote is never lost, and a
null is a field that is not there, as to an API server. What is refused is `validation`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel


def _rfc3339(moment: datetime) -> str:
    utc = moment.astimezone(UTC) if moment.utcoffset() else moment
    return f"{utc.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


Time = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str)]
"""metav1.Time: RFC 3339 in UTC, whole seconds."""


@lru_cache(maxsize=1024)
def _shared(names: frozenset[str]) -> set[str]:
    """One set for all models that have these fields: nobody adds to a set of an immutable model, a copy has its own."""
    return set(names)


class Model(BaseModel):
    """Base of all models: camelCase outside, snake_case inside, unknown fields kept, values immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        if not isinstance(data, dict) or None not in data.values():
            return data
        return {key: value for key, value in data.items() if value is not None}

    def model_post_init(self, context: object, /) -> None:
        """See the base. An object is of a dozen models, whose sets of names would be a third of what it takes."""
        del context
        object.__setattr__(self, "__pydantic_fields_set__", _shared(frozenset(self.__pydantic_fields_set__)))

    def document(self) -> dict[str, Any]:
        """The model as a plain document: camelCase, without fields that are unset or null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


class OwnerReference(Model):
    """metav1.OwnerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """metav1.ObjectMeta, as far as anything here reads or writes it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int | None = None
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    finalizers: list[str] = Field(default_factory=list)


class Resource(Model):
    """Base of all kinds."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    def document(self) -> dict[str, Any]:
        """The object as a plain document, apiVersion and kind first."""
        return {"apiVersion": self.api_version, "kind": self.kind} | super().document()


class Condition(Model):
    """What is true of the object, and since when.

    Attributes:
        type: what is said; there is one condition of each type.
        status: True, False or Unknown.
        reason: why, as one CamelCase word.
        message: why, as a sentence for a person.
        last_transition_time: when the status changed last.
        last_heartbeat_time: when status, reason or message changed last.
    """

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None
    last_heartbeat_time: Time | None = None


def with_condition(conditions: Sequence[Condition], new: Condition, now: datetime) -> list[Condition]:
    """The conditions with `new` in the place of the one of its type; unchanged words change no time."""
    old = next((condition for condition in conditions if condition.type == new.type), None)
    same_status = old is not None and old.status == new.status
    same = same_status and old is not None and (old.reason, old.message) == (new.reason, new.message)
    stamped = new.model_copy(
        update={
            "last_transition_time": old.last_transition_time if old is not None and same_status else now,
            "last_heartbeat_time": old.last_heartbeat_time if old is not None and same else now,
        }
    )
    if old is None:
        return [*conditions, stamped]
    return [stamped if condition is old else condition for condition in conditions]
