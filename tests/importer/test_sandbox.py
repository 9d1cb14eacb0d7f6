"""What a program in the sandbox cannot do: tried by real programs on a real kernel."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from dataimportcron.importer.disk import sandbox

MIB = 1 << 20
LANDLOCK = sandbox.landlock_version()


@pytest.fixture
def files(tmp_path):
    for name in ("readable", "writable", "other"):
        (tmp_path / name).write_text(name)
    return tmp_path


def run(files, program, *arguments, through=(), **changes):
    limits = {
        "parent": os.getpid(),
        "memory": 256 * MIB,
        "cpu": 5,
        "file_size": 4096,
        "readable": (str(files / "readable"),),
        "writable": (str(files / "writable"),),
    }
    command = sandbox.command(sandbox.Limits(**limits | changes), program, *map(str, arguments))
    return subprocess.run([*through, *command], capture_output=True, text=True, check=False, cwd=files, timeout=30)


def shell(files, script, **changes):
    return run(files, "/bin/dash", "-c", script, **changes)


def test_this_kernel_has_landlock():
    assert LANDLOCK >= 1, "these tests need a kernel with Landlock (5.13), enabled by lsm=landlock,…"


def test_what_is_allowed(files):
    done = shell(files, "read a <readable; read b <writable; echo $a $b; echo new >writable")
    assert (done.returncode, done.stdout, done.stderr) == (0, "readable writable\n", "")
    assert (files / "writable").read_text() == "new\n"


FORBIDDEN = {
    "read another file": "read a <other",
    "read secrets": "read a </etc/shadow",
    "read our memory": "read a </proc/$PPID/maps",
    "write another file": "echo x >other",
    "write what it may read": "echo x >readable",
    "truncate what it may read": ": >readable",
    "make a file": "echo x >new",
    "run another program": "/bin/true",
    "send signals": "kill -0 $PPID",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden(files, what):
    done = shell(files, FORBIDDEN[what])
    assert done.returncode != 0
    assert "ermission denied" in done.stderr or "not permitted" in done.stderr
    assert {path.name: path.read_text() for path in files.iterdir()} == {
        name: name for name in ("readable", "writable", "other")
    }


def test_it_opens_no_connection(files):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        done = run(files, os.path.realpath("/usr/bin/python3"), "-I", "-S", "-c", program)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


LIMITS = {
    "memory": "x = bytes(300 << 20)",
    "file size": "import os; f = os.open('writable', os.O_WRONLY); os.pwrite(f, b'x', 4095); os.pwrite(f, b'x', 4096)",
    "files": "f = [open('readable') for _ in range(100)]",
    "processor": "while True: pass",
}
ENDS = {
    "memory": (1, "MemoryError"),
    "file size": (1, "File too large"),
    "files": (1, "Too many open files"),
    "processor": (-signal.SIGXCPU, ""),
}


@pytest.mark.parametrize("what", LIMITS)
def test_limits(files, what):
    done = run(files, os.path.realpath("/usr/bin/python3"), "-I", "-S", "-c", LIMITS[what], cpu=1)
    code, complaint = ENDS[what]
    assert done.returncode == code
    assert complaint in done.stderr


def test_a_limit_that_is_lower_already_stays(files):
    lower = ("/bin/dash", "-c", 'ulimit -n 32; exec "$@"', "dash")
    assert shell(files, "ulimit -Hn; ulimit -n", through=lower).stdout == "32\n32\n"


def test_a_program_that_knows_nothing_of_limits_is_ended_by_them(files):
    assert run(files, "/bin/dd", "if=/dev/zero", "of=writable", "bs=8k", "count=2").returncode == -signal.SIGXFSZ


def test_what_it_says_of_itself(files):
    done = run(files, os.path.realpath("/usr/bin/python3"), "-I", "-S", "-c", STATUS)
    assert done.stdout.split() == ["1", "0", str(int(signal.SIGKILL))]


STATUS = """
import ctypes, resource
libc, number = ctypes.CDLL(None), ctypes.c_int()
libc.prctl(2, ctypes.byref(number))
print(libc.prctl(39, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[1], number.value)
"""


@pytest.mark.parametrize(
    ("program", "changes", "complaint"),
    [
        ("/does/not/exist", {}, "No such file"),
        ("/bin/true", {"readable": ("/does/not/exist",)}, "No such file"),
        ("/bin/true", {"parent": 1}, "its parent has ended"),
    ],
)
def test_what_cannot_be_confined_is_not_started(files, program, changes, complaint):
    done = run(files, program, **changes)
    assert (done.returncode, done.stdout) == (sandbox.CANNOT_START, "")
    assert complaint in done.stderr


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4, 5, 6])
def test_older_kernels(files, tmp_path, monkeypatch, version):
    text = Path(sandbox.__file__).read_text()
    older = text.replace("if version := landlock_version():", f"if version := min({version}, landlock_version()):")
    assert older != text
    (tmp_path / "sandbox.py").write_text(older)
    monkeypatch.setattr(sandbox, "__file__", str(tmp_path / "sandbox.py"))
    assert shell(files, "read a <readable; echo $a >writable").returncode == 0
    assert (shell(files, ": <other").returncode == 0) == (version == 0)
