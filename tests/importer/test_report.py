import json

import pytest

from dataimportcron.importer.report import FAILED, SUCCEEDED, Phase, Progress, Result, parse_line

LINES = [
    Progress(phase=Phase.RESOLVING),
    Progress(phase=Phase.DOWNLOADING, bytes_read=1, bytes_total=2, bytes_written=3, virtual_size=4),
    Result(phase=SUCCEEDED, digest="sha256:a", bytes_read=5, virtual_size=6, format="raw", env={"A": "b"}),
    Result(phase=FAILED, reason="TooManyRequests", message="slow\ndown", retry_after=1.5),
    Result(phase=FAILED, reason="InvalidImage", message="ü", permanent=True),
]


@pytest.mark.parametrize("value", LINES)
def test_a_line_reads_back(value):
    line = value.to_json()
    assert "\n" not in line
    assert parse_line(line + "\n") == value


def test_the_members_have_their_names():
    assert set(json.loads(LINES[1].to_json())) == {"phase", "bytesRead", "bytesTotal", "bytesWritten", "virtualSize"}
    failed = json.loads(LINES[3].to_json())
    assert set(failed) == {"phase", "reason", "message", "permanent", "retryAfter"}
    assert {"digest", "bytesRead", "bytesWritten", "virtualSize", "format", "env"} <= set(
        json.loads(LINES[2].to_json())
    )


@pytest.mark.parametrize(("value", "code"), list(zip(LINES[2:], [0, 1, 2], strict=True)))
def test_exit_codes(value, code):
    assert value.exit_code == code
    assert value.failed == (code > 0)


def test_what_a_newer_importer_says_more_is_ignored():
    assert parse_line('{"phase": "Syncing", "colour": 7}') == Progress(phase=Phase.SYNCING)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        "7",
        "[]",
        "null",
        "{}",
        '{"phase": "Dancing"}',
        '{"phase": ["Failed"]}',
        '{"phase": "Downloading", "bytesRead": "1"}',
        '{"phase": "Downloading", "bytesRead": -1}',
        '{"phase": "Downloading", "bytesRead": true}',
        '{"phase": "Succeeded", "env": []}',
        '{"phase": "Succeeded", "env": {"A": 1}}',
        '{"phase": "Failed", "permanent": 1}',
        '{"phase": "Failed", "retryAfter": "1"}',
        '{"phase": "Failed", "message": null}',
    ],
)
def test_other_lines_are_nothing(line):
    assert parse_line(line) is None
