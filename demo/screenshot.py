"""Make the README's picture: a cron with a few imports, as the Temporal UI shows it.

Run as `python -m demo.screenshot docs/temporal-ui.png`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright

from dataimportcron.errors import MissingDependencyError
from dataimportcron.naming import cron_workflow_id
from demo.host import Host, host
from demo.registry import client, registry
from demo.story import CRON, NAMESPACE, Story, trust

_BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def main(target: Path) -> int:
    """Tell the beginning of the story, then take the picture."""
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
            take(home, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def take(home: Host, target: Path) -> None:
    """Photograph the cron's page: its state and the table of its imports, above the history of its execution."""
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise MissingDependencyError(
            "chromium is not installed", hint="apt-get install --no-install-recommends chromium"
        )
    workflow_id = quote(cron_workflow_id(home.state.identity().site, NAMESPACE, CRON), safe="")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(_BROWSER_OPTIONS))
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.goto(f"{home.ui}/namespaces/default/workflows/{workflow_id}")
        page.wait_for_timeout(4000)
        link = page.get_by_text("User Metadata")
        if link.count():
            link.first.click()
            page.wait_for_timeout(3000)
        page.screenshot(path=str(target))
        browser.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
