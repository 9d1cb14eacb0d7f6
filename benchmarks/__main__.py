"""`python -m benchmarks [imports|polls]`: all of them, or one."""

from __future__ import annotations

import sys

from benchmarks import imports, polls

_ALL = {"imports": imports.main, "polls": polls.main}


def main() -> None:
    """Run what is named, or all."""
    names = sys.argv[1:] or list(_ALL)
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]!r}, only {', '.join(_ALL)}")
    for name in names:
        print(f"== {name}", flush=True)
        _ALL[name]()


main()
