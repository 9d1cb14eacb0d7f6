"""`python -m benchmarks [NAME…]`: all of them, or those that are named.

A benchmark is a module of this package with a `main`; it is imported when its turn comes.
"""

from __future__ import annotations

import sys
from importlib import import_module

_ALL = ("imports", "polls", "cli_start", "quiet", "slow", "idle", "year", "growth", "cluster", "clones")


def main() -> None:
    """Run what is named, or all."""
    names = sys.argv[1:] or _ALL
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}, only {', '.join(_ALL)}")
    for name in names:
        print(f"== {name}", flush=True)
        import_module(f"benchmarks.{name}").main()


main()
