"""`dataimportcron version`."""

from __future__ import annotations

import argparse
from importlib.metadata import version


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Print the version."""
    del arguments
    print(f"dataimportcron {version('dataimportcron')}")
    return 0
