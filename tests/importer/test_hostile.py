"""Every input of the table is refused, for good, in bounded time and memory, by the program as it is."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.importer.hostile.case import attempt, registry_for_cases
from tests.importer.hostile.table import CASES


@pytest.fixture(scope="module")
def refusals(request, tmp_path_factory):
    """What the program said to those cases that were chosen; several processes at a time."""
    mine = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params["case"] for item in mine if "refusals" in item.fixturenames]
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 4))
    with registry_for_cases() as registry:
        try:
            yield {
                case.name: pool.submit(attempt, case, tmp_path_factory.mktemp("hostile"), registry) for case in chosen
            }
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case, refusals):
    assert refusals[case.name].result().faults == []


def test_each_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
