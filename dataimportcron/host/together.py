"""Questions that come together, answered by one call in a thread: a way there and back costs more than an answer.

At a tick a thousand crons ask at one moment. What comes while one call runs waits for the next, and is one with all
that waits then; a single question waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Q, A]):
    """A question that waits for its answer."""

    question: Q
    answered: asyncio.Future[A]

    def answer(self, answer: A | Exception) -> None:
        """Tell whoever still waits."""
        if self.answered.done():
            return
        if isinstance(answer, Exception):
            self.answered.set_exception(answer)
        else:
            self.answered.set_result(answer)


class Together(Generic[Q, A]):
    """Asks by one call at a time.

    Args:
        answer: all questions, in a thread: of each its answer, or what went wrong with it. What it raises is the answer
            to all of them.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A | Exception]]) -> None:
        self._answer = answer
        self._waiting: list[_Asked[Q, A]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Ask, and wait for the answer."""
        asked: _Asked[Q, A] = _Asked(question, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await asked.answered

    async def _run(self) -> None:
        while self._waiting:
            asked, self._waiting = self._waiting, []
            answers: Sequence[A | Exception]
            try:
                answers = await asyncio.to_thread(self._answer, [one.question for one in asked])
            except Exception as error:  # noqa: BLE001 -- whoever waits shall hear it
                answers = [error] * len(asked)
            for one, answer in zip(asked, answers, strict=True):
                one.answer(answer)
