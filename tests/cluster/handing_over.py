"""A worker that hands one volume over, and kills itself on the way: `python -m tests.cluster.handing_over --help`."""

import argparse
import asyncio
import os
import signal

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import PVCS
from dataimportcron.cluster.clones.handover import Handover
from dataimportcron.errors import ObjectNotFoundError

STEPS = ("before patch", "after patch", "before delete", "after delete")
"""All that a hand-over writes."""


class Suicidal:
    """A connection that ends its process by SIGKILL before or after the first write of a kind."""

    def __init__(self, connection, step):
        self._connection = connection
        self._when, _, self._write = step.partition(" ")

    def __getattr__(self, name):
        request = getattr(self._connection, name)
        if name != self._write:
            return request

        async def call(*arguments, **options):
            if self._when == "after":
                await request(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        return call


async def hand_over(connection, name, first, second):
    """What a cloner does, with nothing in its head."""
    handover, target = Handover(connection), await connection.get(PVCS, name, second)
    try:
        filled = await connection.get(PVCS, name, first)
    except ObjectNotFoundError:
        if not await handover.is_moved(target):
            raise
        return
    await handover.move(filled, target, print)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig")
    parser.add_argument("name", help="of both claims")
    parser.add_argument("first", help="namespace that has the volume")
    parser.add_argument("second", help="namespace that gets it")
    parser.add_argument("--kill", choices=STEPS)
    asked = parser.parse_args()
    async with connected(kubeconfig=asked.kubeconfig) as connection:
        used = Suicidal(connection, asked.kill) if asked.kill else connection
        await hand_over(used, asked.name, asked.first, asked.second)


if __name__ == "__main__":
    asyncio.run(main())
