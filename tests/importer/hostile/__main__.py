"""Prints the list of refused hostile inputs, one line each; the exit code says whether all were refused as expected."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.importer.hostile.case import attempt, registry_for_cases
from tests.importer.hostile.table import CASES


def main(words: list[str]) -> int:
    """Try all inputs whose name holds all of `words`."""
    bad = 0
    chosen = [case for case in CASES if all(word in case.name for word in words)]
    with registry_for_cases() as registry:
        for case in chosen:
            with tempfile.TemporaryDirectory() as folder:
                refusal = attempt(case, Path(folder), registry)
            print(refusal.line, flush=True)  # noqa: T201 -- it is what the command is for
            for fault in refusal.faults:
                print(f"    NOT AS EXPECTED: {fault}", flush=True)  # noqa: T201 -- the same
            bad += bool(refusal.faults)
    print(f"{len(chosen) - bad} of {len(chosen)} inputs refused as expected")  # noqa: T201 -- the same
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
