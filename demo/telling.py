"""How a story is told and checked: a line for each step, a count of what was true."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from demo.host import Disappointed, wait_for


@dataclass(slots=True)
class Telling:
    """A story so far.

    Attributes:
        checks: how many things were checked and true.
        started: when it began, in seconds of the monotonic clock.
    """

    checks: int = field(default=0, init=False)
    started: float = field(default_factory=time.monotonic, init=False)

    def evidence(self) -> str:
        """What a person needs who looks for the cause of a disappointment."""
        return ""

    def say(self, text: str) -> None:
        """Tell one line, with the time since the start."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def check(self, what: str, truth: object) -> None:
        """Count a thing that must be true.

        Raises:
            Disappointed: it is not.
        """
        if not truth:
            raise Disappointed(f"not true: {what}\n{self.evidence()}".rstrip())
        self.checks += 1

    def eventually(self, what: str, seconds: float, look: Callable[[], object]) -> None:
        """Count a thing that must become true."""
        try:
            wait_for(what, seconds, look)
        except Disappointed as error:
            raise Disappointed(f"{error}\n{self.evidence()}".rstrip()) from error
        self.checks += 1
