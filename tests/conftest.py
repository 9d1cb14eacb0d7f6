"""For all tests."""

import os
from pathlib import Path

# Its pytest plugin imports it when a run fails, too deep in the stack for Python 3.11's parser, which then hides the
# failure behind "AST constructor recursion depth mismatch".
import hypothesis

# The same examples in each run, so that no run fails for a change that it does not have. Others, and a hundred times as
# many of the fuzz tests': --hypothesis-profile=thorough.
hypothesis.settings.register_profile("usual", derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=10_000)
hypothesis.settings.load_profile("usual")

# No test reads with the credentials of whoever runs it.
os.environ["REGISTRY_AUTH_FILE"] = str(Path(__file__).parent / "support" / "no_credentials.json")
