"""`dataimportcron resume`: polls by schedule again, from the next tick on."""

from worker.cli.suspend import configure
from worker.cli.suspend import resume as run

__all__ = ["configure", "run"]
