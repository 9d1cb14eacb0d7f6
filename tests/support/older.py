"""The program as it was at an earlier commit, from its wheel, beside today's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMIT = "97ede7d09f0e0b8ba973d91541d8a55e0b909564"
"""Version 0.1.0 as its recorded histories know it."""

_BUILD = "import os, sys; from hatchling.build import build_wheel as b; os.chdir(sys.argv[1]); print(b(sys.argv[2]))"


def unpacked_wheel(folder: Path) -> Path:
    """Build the commit's wheel from the git history; returns the folder with what is in it.

    Raises:
        RuntimeError: the history does not reach that far back; the message has the command that fetches it.
    """
    tree, built, installed = folder / "tree", folder / "built", folder / "installed"
    for made in (tree, built):
        made.mkdir(parents=True)
    archived = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=False)
    if archived.returncode:
        raise RuntimeError(
            f"the git history does not hold commit {COMMIT} ({archived.stderr.decode().strip()}): "
            "git fetch --unshallow origin"
        )
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archived.stdout, check=True)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(tree), str(built)], capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(built / done.stdout.split()[-1]) as wheel:
        wheel.extractall(installed)
    return installed
