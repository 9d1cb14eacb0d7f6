"""What workflows and activities say to each other: frozen dataclasses through Temporal's default data converter.

They are on record for as long as an execution lives, and a worker of another version reads them: a field is only ever
added, with a default, and never renamed. No API model, credential or URL with a credential is ever part of one.
Times are aware and in UTC; sizes are bytes; durations are seconds.

Annotations are no strings here: the converter resolves those of a class each time that it reads one, which made up
two thirds of the cost of reading a decision.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

HISTORY_LENGTH = 100
"""How many finished imports a cron remembers."""

POLL_FAILURES_LENGTH = 20
"""How many different failures of polls a cron remembers."""


class Trigger(StrEnum):
    """Why a cron looks at its source."""

    TICK = "Tick"
    POLL = "Poll"
    CHANGE = "Change"


class Verdict(StrEnum):
    """What a cron does after it has looked."""

    WAIT = "Wait"
    IMPORT = "Import"
    PROMOTE = "Promote"
    PRUNE = "Prune"
    FAILED = "Failed"
    GONE = "Gone"


class Outcome(StrEnum):
    """How the population of a volume ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """One object, and one life of it: a re-created object of the same name has another uid."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp:
    """What is left to do when the object is already gone; there is no finalizer that would wait for us."""

    retention_policy: str = "All"
    data_source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectDeleted:
    """Signal to a cron that its object is gone; `clean_up` is by the spec as it was at the very end."""

    uid: str
    clean_up: CleanUp


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupInput:
    """One look of a cron at its source.

    Attributes:
        cron: the cron that looks.
        trigger: TICK and POLL ask the registry; CHANGE asks it only where planning says that the change demands it.
        now: the workflow's clock, the only one that decisions and timestamps use.
        reason: why a poll was forced, in the words of who forced it.
        running: name of the DataVolume whose import has not finished, "" if none.
        retry: this look follows one that failed: a transient failure is raised, for Temporal to retry, not returned.
    """

    cron: ObjectRef
    trigger: Trigger
    now: datetime
    reason: str = ""
    running: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the import that a cron waits for has ended, as its DataVolume says."""

    outcome: Outcome
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a look led to; a readable row in the history.

    Attributes:
        verdict: what to do.
        reason: CamelCase, the same word as in the condition, the event and the log.
        message: one sentence for a person.
        polled: whether the registry was asked.
        digest: desired digest, "" where none is known.
        data_volume: the DataVolume that holds or will hold it, "" where none.
        replaces: name of a failed or failing import that must be stopped and removed first, "" if none.
        next_poll: the schedule's next tick; None means that only a signal or a change leads to a poll.
        clean_up: what deletion will need.
        manifest_digest: digest of the platform's manifest, "" where the source has none.
        transient: for FAILED: a retry can help before the next tick.
        retry_after: for FAILED: seconds that the registry asked for, 0 where it did not.
        ended: how the import that the cron waits for has ended; None while it runs.
        retries_failed: how many tries of a retried poll failed before this one; Temporal repeats them unseen.
        last_failed: when the last of them failed.
        anew: what `replaces` names goes even if it is complete, for it is of another storage class.
    """

    verdict: Verdict
    reason: str
    message: str
    polled: bool = False
    digest: str = ""
    data_volume: str = ""
    replaces: str = ""
    next_poll: datetime | None = None
    clean_up: CleanUp | None = None
    manifest_digest: str = ""
    transient: bool = False
    retry_after: float = 0.0
    ended: Ended | None = None
    retries_failed: int = 0
    last_failed: datetime | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRecord:
    """One finished import, as `history` shows it. `duration` is in seconds."""

    digest: str
    data_volume: str
    started: datetime
    duration: float
    bytes_read: int
    outcome: Outcome
    message: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailure:
    """Polls that failed in a row with the same words: `first` and `last` are the times of the first and the last.

    A poll that succeeds after them has `ended` the row.
    """

    reason: str
    message: str
    first: datetime
    last: datetime
    polls: int = 1
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningImport:
    """The import that a cron waits for."""

    data_volume: str
    digest: str
    started: datetime
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CronState:
    """All that a cron remembers; travels through continue-as-new, and the query `state` answers it.

    Attributes:
        history: finished imports, newest first, at most HISTORY_LENGTH.
        running: the import under way.
        decision: the last decision.
        next_poll: when the timer ends next; None without a schedule.
        polls: polls so far.
        clean_up: what deletion will need.
        pending_poll: a forced poll that came while the run was closing, with its reason; None if none did.
        pending_change: a change that came then.
        poll_failures: polls that failed, newest first, at most POLL_FAILURES_LENGTH; a success leaves them.
    """

    history: tuple[ImportRecord, ...] = ()
    running: RunningImport | None = None
    decision: Decision | None = None
    next_poll: datetime | None = None
    polls: int = 0
    clean_up: CleanUp | None = None
    pending_poll: str | None = None
    pending_change: bool = False
    poll_failures: tuple[PollFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CronInput:
    """Start of a DataImportCron execution."""

    site: str
    cron: ObjectRef
    state: CronState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult:
    """Answer of the update `poll_now`: what was decided, before any import that follows from it."""

    verdict: Verdict
    reason: str
    message: str
    digest: str
    data_volume: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInput:
    """Start of a DataVolume execution.

    Attributes:
        site: see `naming`.
        namespace: of the DataVolume.
        name: of the DataVolume.
        cron: the cron that imports; None for a DataVolume that a user made.
        digest: what the cron imports; "" for a user's DataVolume.
    """

    site: str
    namespace: str
    name: str
    cron: ObjectRef | None = None
    digest: str = ""
    manifest_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulateInput:
    """One step of a DataVolume's population. `now` is the workflow's clock.

    For the step that the preparation has chosen, `uid` and `source` are its: of the DataVolume that it has seen, and
    what that is cloned from. They are not read from the object, which others may write.
    """

    namespace: str
    name: str
    now: datetime
    cron: ObjectRef | None = None
    digest: str = ""
    manifest_digest: str = ""
    uid: str = ""
    source: str = ""


class Step(StrEnum):
    """What a DataVolume needs next."""

    IMPORT = "Import"
    CLONE = "Clone"
    BLANK = "Blank"
    WAIT = "Wait"
    DONE = "Done"
    FAILED = "Failed"
    GONE = "Gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What the preparation of a DataVolume found. `uid` is the DataVolume's."""

    step: Step
    reason: str
    message: str
    uid: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Populated:
    """How a population ended, as the activity returns it."""

    bytes_read: int = 0
    bytes_written: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailInput:
    """A DataVolume's permanent failure, to be written into its status.

    `uid` is of the DataVolume that failed, whose successor of the same name has not; "" where that was not recorded.
    """

    namespace: str
    name: str
    now: datetime
    reason: str
    message: str
    uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFinished:
    """Signal of a DataVolume to its cron."""

    data_volume: str
    digest: str
    outcome: Outcome
    message: str
    bytes_read: int
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteInput:
    """Points the cron's DataSource to a finished import; the same input prunes what is beyond importsToKeep.

    Attributes:
        cron: whose import it is.
        data_volume: the finished import.
        digest: what it holds, as the cron desires it now.
        now: the workflow's clock.
        manifest_digest: digest of the platform's manifest, "" where unknown.
    """

    cron: ObjectRef
    data_volume: str
    digest: str
    now: datetime
    manifest_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What retention removed, and what it kept although it is old, each with the reason."""

    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DropInput:
    """A failed import that a newer digest has replaced; with `complete`, one that is to be made anew elsewhere."""

    cron: ObjectRef
    data_volume: str
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpInput:
    """The end of a cron whose object is gone."""

    cron: ObjectRef
    clean_up: CleanUp | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedUp:
    """What the end of a cron removed, and what it kept because somebody uses it, each with the reason.

    `object_exists` means that the object is there after all and nothing was done.
    """

    object_exists: bool
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
