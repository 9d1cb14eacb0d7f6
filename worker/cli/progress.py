"""How an import that runs is shown: a bar on a terminal, redrawn in its line; elsewhere a line now and then.

What is shown is pure (`bar`, `sentence`); `Display` only knows when and where.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from worker.cli import text

_RATE_OVER: Final = 15.0
"""Seconds that the rate is measured over."""
_STOPPED: Final = 3.0
"""Seconds without a new report after which an import counts as slower."""
_LINE_EVERY: Final = 5.0
"""Seconds between two lines where there is no terminal, unless the phase is another."""
_LEAST_BAR: Final = 8
_CLEAR: Final = "\r\033[K"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far an import is.

    Attributes:
        title: what is imported.
        phase: a word for a person.
        fraction: from 0 to 1; None while nobody knows.
        total: bytes that there are to read, 0 while unknown.
        rate: parts of the whole per second, 0 while unknown.
    """

    title: str
    phase: str
    fraction: float | None = None
    total: int = 0
    rate: float = 0.0


def bar(now: Standing, width: int) -> str:
    """One line of at most `width` columns. What matters least goes first: the bar, then the title's end."""
    told = _figures(now) or now.phase
    room = width - len(now.title) - len(told) - 5
    if now.fraction is not None and room >= _LEAST_BAR:
        full = round(min(room, 40) * now.fraction)
        return f"{now.title}  [{'#' * full}{'.' * (min(room, 40) - full)}] {told}"
    title = now.title if len(now.title) + len(told) + 2 <= width else f"{now.title[: max(width - len(told) - 5, 0)]}..."
    return f"{title}  {told}"[:width].rstrip()


def sentence(now: Standing) -> str:
    """The same for a log."""
    return f"{now.title}: {now.phase} {_figures(now)}".rstrip()


def _figures(now: Standing) -> str:
    """Percent, bytes, rate and time to go, as far as they are known; "" where none is."""
    if now.fraction is None:
        return ""
    told = [f"{100 * now.fraction:3.0f}%"]
    if now.total:
        told.append(f"{text.size(now.fraction * now.total)}/{text.size(now.total)}")
    if now.rate > 0 and now.fraction < 1:
        if now.total:
            told.append(f"{text.size(now.rate * now.total)}/s")
        told.append(f"ETA {text.eta((1 - now.fraction) / now.rate)}")
    return "  ".join(told)


class Rate:
    """How fast a figure grows, over the last seconds; it starts over when the figure falls, as after a restart."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def update(self, figure: float, at: float) -> float:
        """Per second, 0 while it cannot be told.

        Args:
            figure: now.
            at: seconds, of a clock that never jumps.
        """
        if self._seen and figure < self._seen[-1][1]:
            self._seen.clear()
        if not self._seen or figure > self._seen[-1][1]:
            self._seen.append((at, figure))
        while len(self._seen) > 2 and at - self._seen[0][0] > _RATE_OVER:  # noqa: PLR2004 -- two make a difference
            self._seen.popleft()
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        # Between two reports nothing is known; only after a while it has stopped.
        until = last_at if at - last_at < _STOPPED else at
        return (last - first) / (until - first_at) if until > first_at else 0.0


class Display:
    """Shows one import on the standard output."""

    def __init__(self) -> None:
        self._last = ""
        self._key: tuple[str, str] = ("", "")
        self._written = float("-inf")
        self._rate = Rate()

    def show(self, title: str, phase: str, fraction: float | None, total: int) -> None:
        """Show where it stands; see `Standing`."""
        now = time.monotonic()
        rate = 0.0 if fraction is None else self._rate.update(fraction, now)
        standing = Standing(title=title, phase=phase, fraction=fraction, total=total, rate=rate)
        width = text.width_of()
        if width is not None:
            self._write(bar(standing, width - 1), before=_CLEAR)
        elif (title, phase) != self._key or now - self._written >= _LINE_EVERY:
            self._write(sentence(standing), after="\n")
            self._written = now
        self._key = (title, phase)

    def say(self, sentence: str) -> None:
        """Say something in lines of its own."""
        self.clear()
        text.say(sentence)

    def clear(self) -> None:
        """Take the bar away."""
        if text.width_of() is not None:
            self._write("", before=_CLEAR)
        self._last = ""

    def _write(self, line: str, *, before: str = "", after: str = "") -> None:
        """Write a line, unless it stands there already."""
        if line != self._last:
            print(before + line, end=after, flush=True)
            self._last = line
