"""The only place of the host's home that asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 -- this is the place


def timestamp() -> str:
    """The current time, as Kubernetes writes it."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
