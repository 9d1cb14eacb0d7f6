"""When the registry is asked next, and which names are a cron's own."""

from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron import naming, polling
from dataimportcron.api.types import DataImportCron
from dataimportcron.manifests import with_status
from tests.support.home import cron_document

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_every_counts_from_the_last_poll_whatever_comes_in_between():
    cron = with_status(DataImportCron.model_validate(cron_document(schedule="@every 6m")), last_execution_timestamp=NOW)
    for minutes in range(6):
        look = NOW + timedelta(minutes=minutes)
        assert polling.next_poll_of(cron, look, timedelta(seconds=10)) == NOW + timedelta(minutes=6)
    late = NOW + timedelta(minutes=8)
    assert polling.next_poll_of(cron, late, timedelta()) == late


def test_every_counts_from_when_the_cron_was_made_before_its_first_poll():
    cron = DataImportCron.model_validate(cron_document(schedule="@every 6m"))
    made = cron.metadata.model_copy(update={"creation_timestamp": NOW - timedelta(minutes=2)})
    cron = cron.model_copy(update={"metadata": made})
    assert polling.next_poll_of(cron, NOW, timedelta()) == NOW + timedelta(minutes=4)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("fedora-0123456789ab", True),
        ("fedora-39-0123456789ab", False),
        ("fedora-0123456789a", False),
        ("fedora-1234abcd-ef0", True),
        ("fedora-1234abcd-ef", False),
        ("fedora-1234-abcdef0", False),
        ("fedora", False),
    ],
)
def test_names_of_imports_of_this_very_data_source(name, ours):
    assert naming.is_import_name("fedora", name) is ours
