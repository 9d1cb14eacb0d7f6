"""What commands print: columns, widths, ages and bars, as values."""

from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron.errors import InvalidObjectError
from worker.cli import text
from worker.cli.columns import FIRST_TO_GO, cells
from worker.cli.kinds import selector, tidy, wanted
from worker.cli.progress import Rate, Standing, bar, sentence

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def cron(**metadata):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataImportCron",
        "metadata": {
            "name": "fedora-image-import-cron",
            "namespace": "golden-images",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": {
            "schedule": "30 1 * * 1",
            "managedDataSource": "fedora",
            "template": {"spec": {"source": {"registry": {"url": "docker://quay.io/containerdisks/fedora:latest"}}}},
        },
        "status": {
            "lastExecutionTimestamp": "2026-03-01T11:50:00Z",
            "lastImportTimestamp": "2026-02-01T11:50:00Z",
            "conditions": [{"type": "UpToDate", "status": "False", "reason": "RegistryUnavailable"}],
        },
    }


def test_the_default_table_of_a_typical_cron_fits_80_columns():
    shown = {"NAME": "fedora-image-import-cron"} | cells(cron(), NOW)
    assert shown["UPTODATE"] == "False"
    assert shown["LAST POLL"] == "10m"
    assert shown["LAST IMPORT"] == "28d"
    told = text.table([list(shown), list(shown.values())], width=80)
    assert max(map(len, told.splitlines())) <= 80


def test_a_suspended_cron_says_so_and_wide_still_has_its_schedule():
    suspended = cron(annotations={"dataimportcron.io/suspend": "true"})
    assert cells(suspended, NOW)["SCHEDULE"] == "<suspended>"
    wide = cells(suspended, NOW, wide=True)
    assert (wide["SCHEDULE"], wide["SUSPEND"]) == ("30 1 * * 1", "true")
    assert wide["REASON"] == "RegistryUnavailable"
    assert wide["SOURCE"] == "quay.io/containerdisks/fedora:latest"


def test_an_object_without_status_has_a_row():
    bare = {"kind": "DataImportCron", "metadata": {"name": "a"}, "spec": {}}
    assert cells(bare, NOW, wide=True)["UPTODATE"] == "Unknown"
    volume = {"kind": "DataVolume", "metadata": {"name": "a"}, "spec": {"sourceRef": {"name": "fedora"}}}
    shown = cells(volume, NOW, wide=True)
    assert (shown["PHASE"], shown["SIZE"], shown["FROM"]) == ("Pending", "<as its source>", "fedora")


def test_data_of_a_config_map_is_counted_with_its_binary_data():
    document = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}, "binaryData": {"b": "Mg=="}}
    assert cells(document, NOW)["DATA"] == "2"


def test_a_narrow_terminal_gets_fewer_columns_and_a_pipe_all():
    rows = [["NAME", "LAST POLL", "LAST IMPORT", "AGE"], ["n" * 60, "1m", "1m", "1m"]]
    assert text.fitted(rows, None, FIRST_TO_GO) == rows
    assert text.fitted(rows, 80, FIRST_TO_GO)[0] == ["NAME", "LAST POLL", "AGE"]
    assert text.fitted(rows, 70, FIRST_TO_GO)[0] == ["NAME", "AGE"]


def test_a_row_that_comes_later_stands_in_the_columns_of_its_table():
    rows = [["NAME", "AGE"], ["n" * 30, "1m"]]
    for width in (None, 36, 34):
        later = text.line(rows[1], text.column_widths(rows), width=width)
        assert later == text.table(rows, width=width).splitlines()[1]


def test_a_cell_that_is_cut_keeps_its_end():
    rows = [["NAME", "SOURCE"], ["a", "quay.io/" + "x" * 60 + ":latest"]]
    cut = text.cut(rows, 60)
    assert cut[1][1].startswith("...x")
    assert cut[1][1].endswith(":latest")
    assert len(text.table(cut, width=60).splitlines()[1]) <= 60
    assert text.cut(rows, None) == rows


def test_a_sentence_stands_beside_its_row_where_there_is_room_and_below_it_where_not():
    rows = [(["TYPE", "STATUS"], "MESSAGE"), (["UpToDate", "False"], "the registry does not answer " * 4)]
    wide = text.noted(rows, width=160).splitlines()
    assert "MESSAGE" in wide[0]
    assert wide[1].startswith("UpToDate   False    the registry")
    narrow = text.noted(rows, width=50).splitlines()
    assert narrow[0] == "TYPE       STATUS"
    assert narrow[2].startswith("    the registry")
    assert max(map(len, narrow)) <= 50
    assert len(text.noted(rows).splitlines()) == 2


def test_a_digest_is_never_broken():
    digest = "sha256:" + "a" * 64
    rows = [(["TYPE", "REASON"], "MESSAGE"), (["Normal", "ImportStarted"], f"Importing {digest}")]
    assert any(digest in line for line in text.noted(rows, width=80).splitlines())
    assert f"    {digest}" in text.field("  Digest:", digest, 20, 80)


def test_an_outline_is_kubectls():
    document = {"spec": {"managedDataSource": "fedora", "lastImportedPVC": {"name": "a"}, "items": [{"a": 1, "b": 2}]}}
    assert text.outline(document) == [
        "Spec:",
        "  Managed Data Source:  fedora",
        "  Last Imported PVC:",
        "    Name:  a",
        "  Items:",
        "    - A:  1",
        "      B:  2",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d"), (-5, "0s")],
)
def test_spans(seconds, said):
    assert text.span(seconds) == said
    assert text.ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(("seconds", "said"), [(4.23, "4.2s"), (90, "1m30s"), (7505, "2h05m")])
def test_durations(seconds, said):
    assert text.duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes(count, said):
    assert text.size(count) == said


@pytest.mark.parametrize("width", [20, 40, 60, 79, 159])
@pytest.mark.parametrize("fraction", [None, 0.0, 0.4567, 1.0])
def test_a_bar_keeps_to_its_width(width, fraction):
    standing = Standing(
        title="fedora-0123456789ab", phase="ImportInProgress", fraction=fraction, total=600 << 20, rate=0.01
    )
    assert len(bar(standing, width)) <= width


def test_a_bar_says_percent_bytes_rate_and_time():
    standing = Standing(title="fedora", phase="ImportInProgress", fraction=0.25, total=400 << 20, rate=0.05)
    assert bar(standing, 120) == f"fedora  [{'#' * 10}{'.' * 30}]  25%  100.0 MiB/400.0 MiB  20.0 MiB/s  ETA 15s"
    assert sentence(standing) == "fedora: ImportInProgress  25%  100.0 MiB/400.0 MiB  20.0 MiB/s  ETA 15s"


def test_a_phase_that_is_the_title_is_said_once():
    assert bar(Standing(title="Resolving", phase=""), 40) == "Resolving"


def test_a_rate_starts_over_when_the_import_does():
    rate = Rate()
    assert rate.update(0.0, 0.0) == 0.0
    assert rate.update(0.5, 5.0) == pytest.approx(0.1)
    assert rate.update(0.5, 7.0) == pytest.approx(0.1)  # between two reports
    assert rate.update(0.5, 10.0) == pytest.approx(0.05)  # it has stopped: slower at each look
    assert rate.update(0.1, 11.0) == 0.0
    assert rate.update(0.3, 12.0) == pytest.approx(0.2)


def test_what_is_asked_for():
    assert wanted(["dic"]).kinds == ("DataImportCron",)
    assert wanted(["all"]).kinds == ("DataImportCron", "DataSource", "DataVolume")
    several = wanted(["dic,das", "a", "b"])
    assert several.names == {"DataImportCron": ("a", "b"), "DataSource": ("a", "b")}
    slashed = wanted(["dv/a", "das/b"])
    assert slashed.names == {"DataVolume": ("a",), "DataSource": ("b",)}
    assert wanted(["dv/a"]).single
    assert not several.single
    for wrong in (["dv/a", "b"], ["dv/"], ["dv/a/b"], ["pod"]):
        with pytest.raises(InvalidObjectError):
            wanted(wrong)


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ("", True),
        ("a=1", True),
        ("a==1", True),
        ("a=2", False),
        ("a!=2,b", True),
        ("!c", True),
        ("!a", False),
        ("c", False),
    ],
)
def test_selectors(asked, has):
    assert selector(asked)({"metadata": {"labels": {"a": "1", "b": "2"}}}) is has


def test_an_empty_part_of_a_selector_is_refused():
    with pytest.raises(InvalidObjectError, match="no label selector"):
        selector("a=1,,b")


def test_a_document_begins_with_what_it_is():
    document = {"metadata": {"name": "a", "labels": {}}, "spec": {}, "kind": "DataSource", "apiVersion": "v1"}
    assert list(tidy(document)) == ["apiVersion", "kind", "metadata", "spec"]
    assert tidy(document)["metadata"] == {"name": "a"}
