"""The tables of `history`: imports with their links, and polls that failed."""

from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron.messages import CronState, ImportRecord, Outcome, PollFailure
from worker.cli import text
from worker.cli.engine import link
from worker.cli.history import failures, imports

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RUN = "01a20e8c-4edc-7917-96c7-7647e8505e0f"


def record(outcome, message=""):
    return ImportRecord(
        digest="sha256:" + "ab" * 32,
        data_volume="fedora-" + "ab" * 6,
        started=NOW,
        duration=92.4,
        bytes_read=300 << 20,
        outcome=outcome,
        message=message,
        run_id=RUN,
    )


STATE = CronState(history=(record(Outcome.FAILED, "the disk is larger than the volume"), record(Outcome.SUCCEEDED)))


def link_of(entry):
    return link("http://127.0.0.1:8233", "default", f"host/datavolume/golden-images/{entry.data_volume}", entry.run_id)


@pytest.mark.parametrize("columns", [80, 160])
def test_a_terminal_gets_a_short_digest_and_the_words_of_a_failure(columns):
    told = text.noted(imports(STATE, link_of, wide=False, full=False), width=columns)
    assert max(map(len, told.splitlines())) <= columns
    assert "2026-03-01 12:00:00   abababababab   1m32s   300.0 MiB   Failed" in told
    assert told.count("the disk is larger than the volume") == 1
    assert "http" not in told


def test_wide_has_a_link_below_each_row():
    told = text.noted(imports(STATE, link_of, wide=True, full=False), width=80).splitlines()
    assert told[0].split() == ["STARTED", "(UTC)", "DATAVOLUME", "TOOK", "READ", "OUTCOME"]
    assert sum(f"%2Ffedora-abababababab/{RUN}/history" in line for line in told) == 2


def test_a_pipe_gets_all_in_one_line():
    told = text.noted(imports(STATE, link_of, wide=False, full=True)).splitlines()
    assert len(told) == 3
    assert "ab" * 32 in told[1]
    assert told[1].endswith(f"/{RUN}/history   the disk is larger than the volume")


def test_failed_polls_are_one_row_for_the_same_words():
    failure = PollFailure(
        reason="RegistryUnavailable",
        message="quay.io does not answer",
        first=NOW - timedelta(hours=3),
        last=NOW - timedelta(minutes=5),
        polls=7,
    )
    told = text.noted(failures([failure], NOW)).splitlines()
    assert told[1] == "2026-03-01 11:55:00   RegistryUnavailable   7 over 3h   quay.io does not answer"


def test_links_quote_what_an_id_may_hold_and_ids_stand_alone_without_a_ui():
    place = "http://ui/namespaces/team%2Fa/workflows/host%2Fdatavolume%2Fns%2Fname"
    assert link("http://ui", "team/a", "host/datavolume/ns/name", "run") == f"{place}/run/history"
    assert link("http://ui", "team/a", "host/datavolume/ns/name", "") == place
    assert link("", "default", "host/datavolume/ns/name", "run") == "host/datavolume/ns/name run"
