"""What is built, and what is said where something is missing."""

import os
import subprocess
import time

import pytest

from dataimportcron.errors import MissingDependencyError, TransientError
from tests.cluster import binaries as built
from tests.cluster import keeper


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """Sources whose build takes no time, a cache of their own, and one Go that says it is 1.26.2."""
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\necho go1.26.2\n")
    go.chmod(0o755)
    monkeypatch.setattr(built, "_GO", (str(go),))
    folder = tmp_path / "go"
    (folder / "csidriver").mkdir(parents=True)
    (folder / "csidriver" / "main.go").write_text("package main")
    (folder / "go.mod").write_text("module test\n\ngo 1.20\n")
    (folder / "go.sum").touch()
    (folder / "build.sh").write_text('#!/bin/sh\necho "$1" > "$2/program"\n')
    (folder / "build.sh").chmod(0o755)
    monkeypatch.setattr(built, "_SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_a_part_is_built_once_for_what_it_is_built_from(sources):
    first = built.binaries("node")
    assert (first / "program").read_text() == "node\n"
    made = (first / "program").stat().st_mtime_ns
    assert built.binaries("node") == first
    assert (first / "program").stat().st_mtime_ns == made
    own = built.binaries("own")
    (sources / "csidriver" / "main.go").write_text("package main // changed")
    assert built.binaries("node") == first
    assert built.binaries("own") != own
    (sources / "go.sum").write_text("changed")
    assert built.binaries("node") != first


def test_a_build_that_fails_says_why_and_is_tried_again(sources):
    (sources / "build.sh").write_text('#!/bin/sh\necho half > "$2/program"\necho no such module >&2\nexit 1\n')
    for _ in range(2):
        with pytest.raises(TransientError, match="no such module"):
            built.binaries("node")


def test_what_nobody_has_used_for_weeks_goes(sources):
    old = built.binaries("node")
    os.utime(old.parent, (0, time.time() - 15 * 86400))
    (sources / "go.sum").write_text("changed")
    new = built.binaries("node")
    assert not old.exists()
    assert new.exists()


def test_without_a_go_that_is_new_enough_it_says_what_is_there_and_what_to_do(sources):
    (sources / "go.mod").write_text("module test\n\ngo 1.26.10\n")
    with pytest.raises(
        MissingDependencyError, match=r"No Go 1\.26\.10 or newer .* go1\.26\.2 \(tools/setup\.sh cluster\)"
    ):
        built.binaries("node")


def test_go_sources_are_formatted():
    gofmt = built.find_go().with_name("gofmt")
    listed = subprocess.run([gofmt, "-l", built._SOURCES], check=True, capture_output=True, text=True)
    assert listed.stdout == ""


def test_missing_programs_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependencyError, match=r"apt-get install .* docker-registry .* runc "):
        keeper.check_machine()


def test_a_user_who_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingDependencyError, match="needs root"):
        keeper.check_machine()


def test_a_cache_that_the_node_would_hide_is_refused(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/lib/somebody")
    with pytest.raises(MissingDependencyError, match="cannot see /var/lib/somebody/dataimportcron/cluster"):
        keeper.check_machine()
