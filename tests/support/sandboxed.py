"""A workflow that says what of its file is its own; the sandbox runs this file once for each execution."""

from __future__ import annotations

from temporalio import workflow

_STARTED: list[str] = []


def _add(who: str) -> None:
    _STARTED.append(who)


@workflow.defn
class OwnModuleWorkflow:
    """It waits for ever, to be asked."""

    @workflow.run
    async def run(self, who: str) -> None:
        """Put `who` into the module."""
        _add(who)
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def started(self) -> list[str]:
        """All that the module has seen."""
        return _STARTED

    @workflow.query
    def code(self) -> int:
        """Which code object the module's function has."""
        return id(_add.__code__)
