"""The contract of `ports.Objects` and `ports.Events`, over a real API server in each dialect."""

from tests.contract.test_events import *  # noqa: F403
from tests.contract.test_objects import *  # noqa: F403
