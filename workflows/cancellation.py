"""Whether somebody cancels this execution: an await does not always say so.

A result that comes together with a cancellation wins, in the SDK's activities as in `asyncio.wait_for`, and the
cancellation is not raised again. The task still knows.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow


def cancel_requested() -> bool:
    """Whether this execution is being cancelled; an activity that we cancel ourselves ends with the same exception."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def heed_cancellation() -> None:
    """Raise the cancellation that an await before has swallowed, if one has."""
    if cancel_requested() and workflow.patched("heed-cancellation"):
        raise asyncio.CancelledError
