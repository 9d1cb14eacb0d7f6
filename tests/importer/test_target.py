import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataimportcron.errors import (
    InvalidObjectError,
    MissingDependencyError,
    NoSpaceError,
    TargetBusyError,
    TargetNotWritableError,
    TransientError,
)
from dataimportcron.importer.targets.lock import lock, place
from dataimportcron.importer.targets.marker import Marker
from dataimportcron.importer.targets.storage import storage_errors
from tests.importer.conftest import MemoryImage, Workbench, tar_of
from tests.support.importing import run
from tests.support.storage import as_its_owner, denied, loop_device, mounted, public_folder

MIB = 1 << 20
MARKER = Marker(
    digest="sha256:a", manifest_digest="sha256:b", platform="", size=4096, virtual_size=512, written=3, format="raw"
)


def paths(folder):
    return folder / "target", folder / "marker"


def test_a_marker_reads_back():
    marker = Marker(**{name: getattr(MARKER, name) for name in MARKER.__slots__} | {"env": {"A": "ü"}})
    assert Marker.from_json(marker.to_json()) == marker
    document = json.loads(marker.to_json())
    assert {"digest", "size", "virtualSize", "bytes"} <= set(document)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"digest": "x"}', MARKER.to_json().replace("4096", '"x"')]
)
def test_what_is_no_marker(text):
    assert Marker.from_json(text) is None


def test_complete_then_found(tmp_path):
    with lock(*paths(tmp_path)) as target:
        assert target.completed() is None
        target.complete(MARKER)
        assert target.completed() == MARKER
    assert (tmp_path / "target").stat().st_size == 4096
    assert sorted(path.name for path in tmp_path.iterdir()) == ["marker", "target"]


def test_starting_over_takes_the_marker_away_first(tmp_path):
    with lock(*paths(tmp_path)) as target:
        target.complete(MARKER)
        target.start_over()
        assert target.completed() is None
    assert not (tmp_path / "marker").exists()
    assert (tmp_path / "target").stat().st_size == 0


def test_one_holder_at_a_time(tmp_path):
    with (
        lock(*paths(tmp_path)),
        pytest.raises(TargetBusyError, match="another process holds"),
        lock(*paths(tmp_path)),
    ):
        pytest.fail("held twice")
    with lock(*paths(tmp_path)):
        pass


def test_another_process_holds_it(bench):
    program = (
        "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, bench.target], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TargetBusyError):
            bench.disk(b"x", 512)
        holder.communicate(b"\n")
    assert bench.disk(b"x", 512) == b"x".ljust(512, b"\0")


def test_a_file_that_was_replaced_while_it_was_opened_is_not_held(tmp_path, monkeypatch):
    target, marker = paths(tmp_path)
    real = fcntl.flock

    def replaced(descriptor, operation):
        target.unlink()
        target.touch()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replaced)
    with pytest.raises(TargetBusyError), lock(target, marker):
        pytest.fail("held a file that is gone")


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(InvalidObjectError, match="is a folder"), lock(tmp_path, tmp_path / "marker"):
        pytest.fail("held a folder")


def test_a_character_device_is_no_target(tmp_path):
    terminal, marker = Path("/dev/null"), tmp_path / "marker"
    with pytest.raises(InvalidObjectError, match="neither file nor block device"), lock(terminal, marker):
        pytest.fail("held a device")


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "target")
    with pytest.raises(InvalidObjectError, match="neither file nor block device"), lock(*paths(tmp_path)):
        pytest.fail("held a pipe")


def test_a_folder_gets_the_disk_that_kubevirt_looks_for(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "claim"
    source.write_bytes(b"golden")
    folder.mkdir()
    arguments = ["--source", source, "--target", folder, "--size", MIB]
    assert run(*arguments)[0] == 0
    changed = (folder / "disk.img").stat().st_mtime_ns
    assert (folder / "disk.img").read_bytes() == b"golden".ljust(MIB, b"\0")
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["disk.img"]
    assert run(*arguments)[2].bytes_read == 0
    assert (folder / "disk.img").stat().st_mtime_ns == changed


def test_a_marker_may_be_elsewhere(tmp_path):
    marker = tmp_path / "elsewhere"
    assert place(tmp_path, marker) == (tmp_path / "disk.img", marker)
    assert place(tmp_path / "a.img", marker) == (tmp_path / "a.img", marker)
    assert place(tmp_path / "a.img", None) == (tmp_path / "a.img", tmp_path / "a.img.complete")
    assert list(tmp_path.iterdir()) == []


def test_without_a_marker_nothing_is_known_to_be_complete(tmp_path):
    with lock(tmp_path / "target", None) as target:
        target.start_over()
        target.complete(MARKER)
        assert target.completed() is None


@pytest.mark.parametrize("target", ["a file", "a device"])
def test_what_another_user_owns(tmp_path, target):
    (tmp_path / "backing").write_bytes(bytes(MIB))
    (tmp_path / "file").touch()
    with loop_device(tmp_path / "backing") as loop:
        path, cause = (tmp_path / "file", "fsGroup") if target == "a file" else (loop, "device_ownership")
        refused = pytest.raises(TargetNotWritableError, match=rf"{path} .*denied.*{cause}")
        with denied(path), refused, lock(path, None):
            pytest.fail("held what is not ours")


def test_a_file_system_that_is_read_only(tmp_path):
    (tmp_path / "source").write_bytes(b"golden")
    with mounted("tmpfs", tmp_path / "claim", "-t", "tmpfs", "-o", "ro") as folder:
        code, _, result = run("--source", tmp_path / "source", "--target", folder, "--size", MIB)
    assert (code, result.reason) == (2, "TargetNotWritable")
    assert "read-only" in result.message


@pytest.mark.parametrize("missing", ["target", "marker"])
def test_a_folder_that_is_missing_is_named(tmp_path, missing):
    target, marker = paths(tmp_path)
    if missing == "target":
        target = tmp_path / "none" / "target"
    else:
        marker = tmp_path / "none" / "marker"
    with pytest.raises(MissingDependencyError, match="none"), lock(target, marker):
        pytest.fail("held nothing")


def test_a_file_that_was_handed_over_half_way_can_be_written_again():
    with public_folder() as folder:
        bench = Workbench(folder)
        bench.disk(b"old", 512)
        bench.target.chmod(0o444)
        with as_its_owner(folder):
            assert bench.disk(b"new", 512) == b"new".ljust(512, b"\0")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_space(number):
    with pytest.raises(NoSpaceError, match="no space for the target"), storage_errors("the target"):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_storage_are_worth_another_try():
    with pytest.raises(TransientError, match="Input/output error"), storage_errors("the target"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dataimportcron.errors import NoSpaceError
from dataimportcron.importer.run import Request, run_import
from tests.importer.conftest import MemoryImage, tar_of
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
target = Path(sys.argv[1])
image = MemoryImage.of(tar_of(("disk/d", b"x" * (3 << 20))))
try:
    run_import(Request(target=target, marker=target.with_suffix(".m"), size=4 << 20), image, lambda _: None)
except NoSpaceError as error:
    assert not error.permanent
    print(error.reason, target.stat().st_size, target.with_suffix(".m").exists())
"""


def test_a_file_system_that_takes_no_more(tmp_path):
    """A limit of file sizes stands for a full disk: the same call fails, and no privilege is needed."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "disk", root], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["NoSpace", "0", "False"]


def test_a_full_file_system(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(8 * MIB))
    with mounted("tmpfs", tmp_path / "claim", "-t", "tmpfs", "-o", "size=4m") as folder:
        code, _, result = run("--source", source, "--target", folder, "--size", 8 * MIB)
        assert (folder / "disk.img").stat().st_size == 0
        assert list((folder / ".dataimportcron").iterdir()) == []
    assert (code, result.reason, result.permanent) == (1, "NoSpace", False)


def test_a_file_system_that_is_full_with_the_last_bytes(tmp_path):
    """The kernel writes what there is room for, and says so; only the next call fails."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(4 * MIB + MIB // 2 + 100))
    with mounted("tmpfs", tmp_path / "claim", "-t", "tmpfs", "-o", "size=4224k") as folder:
        marker = ["--marker", tmp_path / "marker"]
        code, _, result = run("--source", source, "--target", folder, "--size", 8 * MIB, *marker)
    assert (code, result.reason) == (1, "NoSpace")


def test_an_import_holds_the_lock_all_the_time(bench):
    class Peeking(MemoryImage):
        def open(self, layer):
            with pytest.raises(TargetBusyError), lock(bench.target, bench.marker):
                pytest.fail("held twice")
            yield from super().open(layer)

    bench.run(Peeking.of(tar_of(("disk/d", b"x"))), 512)
    assert bench.marker.exists()
