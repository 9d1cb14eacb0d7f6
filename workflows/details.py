"""The Markdown that the Temporal UI shows of a cron: where it stands, and a table of its imports."""

from __future__ import annotations

from dataimportcron.api.conditions import UpToDateReason
from dataimportcron.messages import CronState, Outcome, PollFailure, Verdict

IMPORT_FAILED = str(UpToDateReason.IMPORT_FAILED)
"""The phase of a cron whose import fails: for good, or so far."""

_DIGEST = 12
"""Characters of a digest, as in the name of its DataVolume."""
_GAP = 2 * "\N{NO-BREAK SPACE}"
"""Behind a head: the UI leaves no room between columns, and Markdown takes no notice of spaces."""
_ROWS = 20
"""Rows of the table; the query `state` has all."""


def phase_of(state: CronState) -> str:
    """One word for the search attribute `DicPhase`."""
    if state.decision is not None and state.decision.reason == IMPORT_FAILED:
        return IMPORT_FAILED
    if state.running is not None:
        return "Importing"
    if state.decision is None:
        return "Starting"
    return "PollFailed" if state.decision.verdict is Verdict.FAILED else "Waiting"


def details_of(state: CronState) -> str:
    """Current details of a cron."""
    lines = [f"**{phase_of(state)}**"]
    if state.running is not None:
        lines.append(f"Importing `{state.running.digest}` into **{state.running.data_volume}**")
    if state.decision is not None:
        lines.append(f"{state.decision.reason}: {state.decision.message}")
    if state.poll_failures:
        lines.append(_last_failure(state.poll_failures[0]))
    lines.append(f"Next poll: {state.next_poll:%Y-%m-%d %H:%M:%S} UTC" if state.next_poll else "No poll is scheduled")
    if state.history:
        lines.append(_table(state))
    return "\n\n".join(lines) + "\n"


def _last_failure(failure: PollFailure) -> str:
    """When polls failed last, how often, and why."""
    often = "once" if failure.polls == 1 else f"{failure.polls} times since {failure.first:%Y-%m-%d %H:%M:%S}"
    return f"Last failed poll: {failure.last:%Y-%m-%d %H:%M:%S} UTC ({often}): {failure.reason}: {failure.message}"


def _table(state: CronState) -> str:
    heads = ("started (UTC)", "digest", "seconds", "MiB read", "outcome")
    rows = [f"| {f'{_GAP} | '.join(heads)} |", "|---|---|---|---|---|"]
    for record in state.history[:_ROWS]:
        outcome = record.outcome.value
        if record.outcome is not Outcome.SUCCEEDED and record.message:
            outcome += ": " + record.message.replace("|", "\\|").replace("\n", " ")
        rows.append(
            f"| {record.started:%Y-%m-%d %H:%M} | `{record.digest.partition(':')[2][:_DIGEST]}` "
            f"| {record.duration:.1f} | {record.bytes_read / 2**20:.1f} | {outcome} |"
        )
    return "\n".join(rows)
