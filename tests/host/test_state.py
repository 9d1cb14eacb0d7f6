"""The state folder: where it is, who this host is, what its settings may say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.state.folder import LAYOUT, Settings, StateError, StateFolder


def test_the_option_goes_before_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("DATAIMPORTCRON_STATE", str(tmp_path / "variable"))
    assert StateFolder.find(str(tmp_path / "option")).path == tmp_path / "option"
    assert StateFolder.find(None).path == tmp_path / "variable"


@pytest.mark.parametrize(
    ("user", "xdg", "expected"),
    [
        (0, "/x/state", "/var/lib/dataimportcron"),
        (1000, "/x/state", "/x/state/dataimportcron"),
        (1000, None, "/home/somebody/.local/state/dataimportcron"),
    ],
)
def test_the_place_suits_the_user(monkeypatch, user, xdg, expected):
    monkeypatch.delenv("DATAIMPORTCRON_STATE", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr("os.geteuid", lambda: user)
    if xdg:
        monkeypatch.setenv("XDG_STATE_HOME", xdg)
    else:
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert StateFolder.find(None).path == Path(expected)


def test_identity_is_drawn_once(state):
    identity = state.identity()
    assert StateFolder(state.path).identity() == identity
    host, _, drawn = identity.site.rpartition("-")
    assert host
    assert len(drawn) == 6
    assert int(drawn, 16) >= 0


def test_two_processes_draw_one_identity(state):
    program = "import sys; from pathlib import Path; from dataimportcron.host.state.folder import StateFolder; "
    program += "print(StateFolder(Path(sys.argv[1])).identity())"
    command = [sys.executable, "-c", program, str(state.path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in both)
    assert first == second == f"{state.identity()}\n"


def test_secrets_are_private(state):
    for folder in (state.objects, state.status, state.deleted, state.run):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_newer_layout_is_refused_and_not_touched(tmp_path):
    folder = StateFolder(tmp_path)
    (tmp_path / "VERSION").write_text(f"{LAYOUT + 1}\n")
    with pytest.raises(StateError, match=f"layout '{LAYOUT + 1}', this version knows {LAYOUT}"):
        folder.prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["VERSION"]


def test_prepare_twice(state):
    identity = state.identity()
    state.prepare()
    assert (state.path / "VERSION").read_text() == f"{LAYOUT}\n"
    assert state.identity() == identity


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be made or written: Not a directory"):
        StateFolder(tmp_path / "file" / "state").prepare()


def test_settings_have_defaults(state):
    (state.path / "settings.toml").unlink()
    assert state.settings() == Settings()


def test_settings_are_read(state):
    (state.path / "settings.toml").write_text(
        'default_folder = "/pool"\nconcurrent_imports = 2\ncerts_dirs = ["/etc/containerd/certs.d"]\n'
        'insecure_registries = ["localhost:5000"]\n[storage_classes]\nfast = "/nvme"\n'
    )
    settings = state.settings()
    assert settings.storage_classes == {"fast": "/nvme"}
    assert (settings.default_folder, settings.concurrent_imports) == ("/pool", 2)
    assert settings.insecure_registries == ("localhost:5000",)
    assert state.certs_dirs(state.settings()) == (Path("/etc/containerd/certs.d"),)
    (state.path / "certs.d").mkdir()
    assert state.certs_dirs(state.settings()) == (state.path / "certs.d", Path("/etc/containerd/certs.d"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("storage_clases = {}", "'storage_clases'.*storage_classes"),
        ("concurrent_imports = true", "concurrent_imports must be a int, found True"),
        ("concurrent_imports = 0", "concurrent_imports must be at least 1"),
        ('default_folder = "images"', "default_folder must name an absolute path, found 'images'"),
        ("storage_classes = {fast = 1}", "storage_classes.fast must name an absolute path, found 1"),
        ('certs_dirs = ["certs.d"]', "certs_dirs must name an absolute path"),
        ('insecure_registries = ["http://x"]', "insecure_registries must list hosts"),
        ("= 1", "settings.toml: "),
    ],
)
def test_settings_that_cannot_be_used_are_named(state, text, named):
    (state.path / "settings.toml").write_text(text)
    with pytest.raises(InvalidObjectError, match=named):
        state.settings()


def test_identity_file_is_readable_json(state):
    identity = state.identity()
    assert json.loads((state.path / "identity.json").read_text()) == {
        "site": identity.site,
        "machine": identity.machine,
    }
