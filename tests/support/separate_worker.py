"""A worker without a binding, as a process of its own, until its standard input ends.

    python separate_worker.py STATE ADDRESS SITE

Run by path, so that PYTHONPATH decides whose code it is; prints where that came from once it serves.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path


async def main(state: str, address: str, site: str) -> None:
    """Serve."""
    import workflows  # noqa: PLC0415 -- only now does sys.path lack this script's own folder

    # From where both versions have it.
    from worker.build import StateFolder, host_home  # noqa: PLC0415 -- the same
    from worker.run import workers  # noqa: PLC0415 -- the same
    from worker.temporal import Endpoint, connect  # noqa: PLC0415 -- the same

    client = await connect(Endpoint(address=address), identity="separate")
    first, second = workers(client, host_home(StateFolder(Path(state))), site=site)
    async with first, second:
        sys.stdout.write(f"{workflows.__file__}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    sys.path.pop(0)
    asyncio.run(main(*sys.argv[1:]))
