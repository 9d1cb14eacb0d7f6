"""Rules that a reviewer would otherwise have to remember."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
    capture_output=True, text=True, check=True,
).stdout.split()  # fmt: skip
SOURCES = [ROOT / name for name in TRACKED if name.endswith(".py") and (ROOT / name).exists()]


def test_files_stay_readable():
    long = {str(path.relative_to(ROOT)): n for path in SOURCES if (n := len(path.read_text().splitlines())) > 420}
    assert not long, f"split these files, they have more than 400 lines: {long}"


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("dataimportcron.importer.__main__", ("temporalio", "pydantic", "yaml", "croniter")),
        ("dataimportcron.importer.report", ("httpx", "temporalio", "pydantic", "isal")),
        ("worker.cli", ("temporalio", "pydantic", "yaml", "httpx")),
        ("worker.cli.get", ("temporalio", "httpx", "pydantic", "yaml", "croniter", "asyncio")),
    ],
)
def test_quick_programs_import_no_slow_ones(module, forbidden):
    code = f"import sys, {module}; print([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_skipped_and_no_ignore_is_bare():
    bare = re.compile(r"@pytest\.mark\.(skip|xfail)|pytest\.skip\(|# type: ignore($|[^\[])|# noqa($|[^:])")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert not found
