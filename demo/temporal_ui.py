"""The Temporal UI in Chromium, as a person looks at it: the list of executions, and the tabs of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote

from playwright.sync_api import Error, Page, sync_playwright

from dataimportcron.errors import MissingDependencyError
from dataimportcron.naming import SEARCH_DIGEST, SEARCH_OBJECT, SEARCH_PHASE

_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_COLUMNS = ("Status", "Type", SEARCH_OBJECT, SEARCH_PHASE, SEARCH_DIGEST, "Start")
"""What a person chooses below the list; it is kept by the browser."""
_PATIENCE = 60_000
"""Milliseconds that anything on a page may take; the server may have much to do."""


@dataclass(frozen=True, slots=True)
class TemporalUI:
    """One browser page on the UI at `url`."""

    url: str
    page: Page

    def executions(self, namespace: str) -> str:
        """Open the list of the executions for a namespace's objects; returns the table's words."""
        query = quote(f"{SEARCH_OBJECT} STARTS_WITH '{namespace}/'")
        self.page.goto(f"{self.url}/namespaces/default/workflows?query={query}")
        self.page.locator("tbody tr").first.wait_for()
        return self.page.locator("table").first.inner_text()

    def execution(self, workflow_id: str, tab: str) -> str:
        """Open one tab of an execution's page; returns the page's words."""
        self.page.goto(f"{self.url}/namespaces/default/workflows/{quote(workflow_id, safe='')}")
        self.page.get_by_role("link", name=tab).or_(self.page.get_by_role("tab", name=tab)).first.click()
        return self.words()

    def words(self) -> str:
        """All that can be read on the page now; Markdown is shown in frames, which come and go while it is drawn."""
        texts = []
        for frame in self.page.frames:
            with suppress(Error):
                texts.append(str(frame.evaluate("document.body ? document.body.innerText : ''")))
        return "\n".join(texts)

    def wait_for(self, *texts: str) -> str:
        """Wait until all of these can be read on the page; returns its words.

        Raises:
            TimeoutError: they cannot, and what can be read instead.
        """
        for _ in range(_PATIENCE // 200):
            words = self.words()
            missing = [text for text in texts if text not in words]
            if not missing:
                return words
            self.page.wait_for_timeout(200)
        raise TimeoutError(f"the page does not say {missing}, but:\n{words}")


@contextmanager
def temporal_ui(url: str, *, width: int = 1400, height: int = 900) -> Iterator[TemporalUI]:
    """Chromium on a UI.

    Raises:
        MissingDependencyError: Chromium is not installed.
    """
    browser_path = shutil.which("chromium")
    if browser_path is None:
        raise MissingDependencyError(
            "chromium is not installed", hint="apt-get install --no-install-recommends chromium"
        )
    columns = json.dumps({"default": [{"label": label} for label in _COLUMNS]})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(_OPTIONS))
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_PATIENCE)
            page.add_init_script(f"localStorage.setItem('namespace-workflow-table-columns', {json.dumps(columns)})")
            yield TemporalUI(url, page)
        finally:
            browser.close()
