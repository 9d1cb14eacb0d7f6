"""What is asked at one moment is asked by one call, and each hears its own answer."""

import asyncio
import threading

import pytest

from dataimportcron.host.together import Together


async def test_what_comes_while_a_call_runs_is_one_call_after_it():
    calls, go, begun = [], threading.Event(), threading.Event()

    def answer(questions):
        calls.append(list(questions))
        begun.set()
        go.wait(30)
        return [question * 10 for question in questions]

    together = Together(answer)
    first = asyncio.create_task(together.ask(1))
    await asyncio.to_thread(begun.wait, 30)
    others = [asyncio.create_task(together.ask(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert calls == [[1], [2, 3, 4]]


async def test_what_is_wrong_with_one_is_no_others_matter():
    together = Together(lambda questions: [OSError(one) if one == "bad" else one for one in questions])
    answers = await asyncio.gather(*map(together.ask, ("good", "bad", "better")), return_exceptions=True)
    assert [answers[0], type(answers[1]), answers[2]] == ["good", OSError, "better"]


async def test_a_call_that_fails_fails_all_that_it_was_made_for_and_no_later_one():
    failing = [True]

    def answer(questions):
        if failing.pop():
            raise OSError("the disk is full")
        return list(questions)

    together = Together(answer)
    first, second = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert str(first) == str(second) == "the disk is full"
    failing.append(False)
    assert await together.ask(3) == 3


async def test_one_who_does_not_wait_any_more_is_in_nobodys_way():
    go = threading.Event()

    def answer(questions):
        go.wait(30)
        return list(questions)

    together = Together(answer)
    impatient = asyncio.create_task(together.ask(1))
    patient = asyncio.create_task(together.ask(2))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    go.set()
    assert await patient == 2
