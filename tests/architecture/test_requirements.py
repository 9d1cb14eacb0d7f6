"""Both files of pins: what a service installs is what was tested, and no tool of the tests."""

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(.*?)(?=^[a-z]|\Z)", re.MULTILINE | re.DOTALL)


def pins(name):
    """Version and hashes by package."""
    found = _PIN.findall((ROOT / name).read_text())
    return {package: (version, re.findall(r"sha256:\w{64}", rest)) for package, version, rest in found}


def test_the_service_installs_what_was_tested():
    tested, service = pins("requirements.txt"), pins("deploy/requirements.txt")
    assert service.items() <= tested.items(), "make requirements brings both files up to date"
    assert all(hashes for _, hashes in service.values())


def test_the_service_has_all_that_it_needs_and_no_tool_of_the_tests():
    service = pins("deploy/requirements.txt")
    required = [Requirement(text) for text in importlib.metadata.requires("dataimportcron")]
    for requirement in required:
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        # hatchling builds us, without another download.
        assert (requirement.name in service) == (needed or requirement.name == "hatchling"), requirement.name
