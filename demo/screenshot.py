"""Make the documentation's pictures of the Temporal UI: a cron with a few imports, another one whose polls fail.

Run as `python -m demo.screenshot`; it writes docs/temporal-ui.png (one cron) and docs/temporal-ui-list.png.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from dataimportcron.naming import cron_workflow_id
from demo.host import Host, host, wait_for
from demo.registry import client, registry
from demo.story import CRON, NAMESPACE, REPOSITORY, SAMPLES, Story, trust
from demo.temporal_ui import temporal_ui

DOCS = Path(__file__).parent.parent / "docs"
_BROKEN = CRON.replace("fedora", "centos-stream9")
_SIZE = (1500, 860)
"""Readable where a README shows it."""


def main() -> int:
    """Tell the beginning of the story, then take the pictures."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-screenshot-"))
    try:
        with registry(work / "registry") as running, host(work / "state") as home, client(running) as http:
            if running.ca is None:
                raise AssertionError
            home.mirror("quay.io", running)
            home.start()
            trust(home, running.ca, work)
            story = Story(home, http, work)
            for step in (story.first_import, story.second_import, story.third_import):
                step()
            _apply_broken(home, work)
            take(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def _apply_broken(home: Host, work: Path) -> None:
    """A cron that follows an image which is not there."""
    manifest = work / "broken.yaml"
    text = (SAMPLES / "fedora.yaml").read_text().replace(CRON, _BROKEN).replace(REPOSITORY, "containerdisks/centos")
    manifest.write_text(text.replace("managedDataSource: fedora", "managedDataSource: centos-stream9"))
    home.run("apply", "-f", str(manifest))
    wait_for("a failed poll", 60, lambda: home.cron(NAMESPACE, _BROKEN).status.last_execution_timestamp)


def take(home: Host) -> None:
    """Photograph the list of executions, and the details of the cron that imported."""
    with temporal_ui(home.ui, width=_SIZE[0], height=_SIZE[1]) as ui:
        ui.executions(NAMESPACE)
        ui.wait_for("PollFailed", "Waiting", "Done")
        ui.page.screenshot(path=str(DOCS / "temporal-ui-list.png"))
        ui.execution(cron_workflow_id(home.state.identity().site, NAMESPACE, CRON), "User Metadata")
        ui.wait_for("Latest import is up to date", "Succeeded")
        ui.page.screenshot(path=str(DOCS / "temporal-ui.png"))


if __name__ == "__main__":
    sys.exit(main())
