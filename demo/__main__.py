"""`make demo`: tell the story, count what was checked, and leave nothing behind unless KEEP=1."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from demo.host import Disappointed, host
from demo.registry import client, registry
from demo.story import CRON, NAMESPACE, Story, trust

_SETTINGS = "import_rate = 60_000_000  # bytes per second, so that a person can watch\n"


def main() -> int:
    """Run the demonstration; 0 if all of it came true."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    keep = os.environ.get("KEEP") == "1"
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-demo-"))
    try:
        with registry(work / "registry") as running, host(work / "state", _SETTINGS) as home:
            home.mirror("quay.io", running)
            assert running.ca is not None  # noqa: S101 -- it speaks TLS
            with client(running) as http:
                story = Story(home, http, work)
                story.say(f"a registry with TLS at {running.url}, mirror of quay.io; state in {home.folder}")
                home.start()
                story.say(f"`dataimportcron up`: a Temporal server and a worker; UI at {home.ui}")
                trust(home, running.ca, work)
                for step in (
                    story.first_import,
                    story.quiet_poll,
                    story.second_import,
                    story.third_import,
                    story.clone,
                    story.kills,
                    story.wrong_tag,
                    story.history,
                ):
                    step()
                if keep:
                    _look_around(home.ui, home.folder)
                story.deletion()
                if not keep:
                    print("\nKEEP=1 make demo leaves all of it running, with the Temporal UI, to look around.")
                print(f"{story.checks} checks, all true, in {time.monotonic() - story.started:.0f} s")
                return 0
    except Disappointed as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        _show_logs(work)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _look_around(ui: str, folder: Path) -> None:
    program = Path(sys.executable).parent / "dataimportcron"
    print(f"\nTemporal UI   {ui}\n")
    print(f"export DATAIMPORTCRON_STATE={folder}")
    for words in (f"get dic -n {NAMESPACE}", f"describe dic {CRON} -n {NAMESPACE}", f"history {CRON} -n {NAMESPACE}"):
        print(f"{program} {words}")
    print("\nCtrl-C ends it.", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def _show_logs(work: Path) -> None:
    for log in (work / "state" / "up.log", work / "registry" / "registry.log"):
        if log.exists():
            print(f"\n--- the end of {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
