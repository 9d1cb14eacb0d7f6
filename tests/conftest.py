"""For all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Its pytest plugin imports it when a run fails, too deep in the stack for Python 3.11's parser, which then hides the
# failure behind "AST constructor recursion depth mismatch".
import hypothesis
import pytest

from dataimportcron.host.disks.folders import HIDDEN, LIBVIRT_IMAGES

# The same examples in each run, so that no run fails for a change that it does not have. Others, and a hundred times as
# many of the fuzz tests': --hypothesis-profile=thorough.
hypothesis.settings.register_profile("usual", derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=10_000)
hypothesis.settings.load_profile("usual")

# No test reads with the credentials of whoever runs it.
os.environ["REGISTRY_AUTH_FILE"] = str(Path(__file__).parent / "support" / "no_credentials.json")


# A shell's background jobs ignore Ctrl-C, and so would all that the tests start, and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _libvirts_own_folder_is_left_in_peace() -> Iterator[None]:
    """A state folder without a default_folder of its own in its settings takes that of the machine's libvirt."""
    before = (LIBVIRT_IMAGES / HIDDEN).exists()
    yield
    assert (LIBVIRT_IMAGES / HIDDEN).exists() == before
