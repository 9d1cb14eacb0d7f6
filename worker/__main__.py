"""`python -m worker` is `dataimportcron`."""

from worker.cli import entry

entry()
