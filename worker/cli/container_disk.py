"""`dataimportcron import`: one container disk into a file, without Temporal.

It is the importer's own program. Elsewhere than on a terminal nothing is between it and its reader: JSON lines, as the
worker reads them. On a terminal its lines are read here and shown as a bar.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from dataimportcron.importer.report import Progress, Result, parse_line
from worker.cli.progress import Display
from worker.cli.text import say, size


def run(arguments: Sequence[str]) -> int:
    """Import; the exit code is the importer's: 0 done, 1 it may work later, 2 it never will."""
    if not sys.stdout.isatty() or not arguments or {"-h", "--help"} & set(arguments):
        from dataimportcron.importer.__main__ import main  # noqa: PLC0415 -- here it is this process

        return main(arguments)
    display, result = Display(), None
    command = [sys.executable, "-m", "dataimportcron.importer", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as importer:
        try:
            for line in importer.stdout or ():
                told = parse_line(line)
                if isinstance(told, Progress):
                    fraction = told.bytes_read / told.bytes_total if told.bytes_total else None
                    display.show(told.phase, "", fraction, told.bytes_total)
                elif isinstance(told, Result):
                    result = told
        except KeyboardInterrupt:
            # Ctrl-C is the terminal's, so the importer got it too; it ends at once.
            importer.wait()
            display.clear()
            print("interrupted; the same command begins anew", file=sys.stderr)
            return 130
    display.clear()
    if result is None or result.failed:
        words = f"{result.reason}: {result.message}" if result else f"the importer ended with {importer.returncode}"
        say(f"error: {words}", sys.stderr)
    else:
        read = f"{size(result.bytes_read)} read, " if result.bytes_read else "nothing had to be read, "
        print(f"{result.format or 'disk'} of {size(result.virtual_size)}: {read}{size(result.bytes_written)} written")
        print(result.digest)
    return importer.returncode
