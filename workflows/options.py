"""How each activity is run: one value per activity, so that time-outs and retries can be compared at a glance."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType


class Options(TypedDict, total=False):
    """Temporal's ActivityConfig without what differs from call to call: task queue and summary."""

    schedule_to_close_timeout: timedelta
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


_STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
)
"""For steps that only read and write objects: they fail for reasons that pass."""

STEP = Options(
    start_to_close_timeout=timedelta(seconds=60),
    retry_policy=_STEP_RETRY,
)
"""Preparation, promotion, retention, clean-up: short, and retried until they succeed."""

LOOK_UP = Options(
    start_to_close_timeout=timedelta(minutes=2),
    schedule_to_close_timeout=timedelta(hours=24),
    retry_policy=_STEP_RETRY,
)
"""The first look of a poll. It reports a registry's failure as its result, so retries are for trouble of our own."""

LOOK_AGAIN = Options(
    start_to_close_timeout=timedelta(minutes=2),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=15), backoff_coefficient=2, maximum_interval=timedelta(minutes=10)
    ),
)
"""Looks after a transient failure; the workflow bounds them by the schedule's next tick."""

POPULATE = Options(
    start_to_close_timeout=timedelta(hours=24),
    schedule_to_close_timeout=timedelta(hours=48),
    heartbeat_timeout=timedelta(seconds=20),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=2), backoff_coefficient=2, maximum_interval=timedelta(minutes=2)
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)
"""Imports and clones: long, heartbeating; a cancelled one has stopped writing when the workflow goes on."""

LOOK_AGAIN_DELAY = timedelta(seconds=10)
"""Between a failed look and the first retry where the registry asked for nothing else."""

INTERRUPT_GRACE = timedelta(seconds=2)
"""How long a look may go on when something more urgent comes; then it is cancelled and made again."""

LONGEST_TIMER = timedelta(hours=24)
SHORTEST_TIMER = timedelta(seconds=1)
LONGEST_RUN = timedelta(days=7)
"""Age at which a run continues as new even if the server does not suggest it."""
LONGEST_HISTORY = 1000
"""Events after which it does so, too: a worker keeps half a kibibyte in memory for each event of a run, and replays all
of them when it starts. A poll is eleven: that is four days of an hourly cron."""
UNKNOWN_TICK_DELAY = timedelta(minutes=5)
"""Until the next look when one ended without a decision."""
LAST_POLICY_PATIENCE = timedelta(seconds=10)
"""How long a cron whose object is gone waits to be told by which policy to clean up; the binding sees it within one."""
CANCEL_PATIENCE = timedelta(minutes=2)
"""How long a cron waits for its cancelled import to say that it has stopped."""
FIRST_PATIENCE = timedelta(seconds=5)
"""Until a DataVolume that waits looks again when no change was signalled; each further look comes twice as late."""
SOURCE_PATIENCE = timedelta(minutes=1)
"""The longest that it waits so."""
