"""Runs a program that can do little: `python sandbox.py LIMITS PROGRAM [ARGUMENT…]`, with `Limits` as JSON.

A process of its own, which takes its own rights away and becomes the program: between fork and exec nothing of Python
may run in a process with threads. It needs the standard library only and is started by its path with `python -I -S`, so
that nothing in the environment or the current folder can add code to it.

What is left to the program: limits of memory, processor time and file size; no core dumps; no new privileges; it is
killed when its parent ends. Where the kernel has Landlock, it reads nothing but the system's libraries and the files
that are named, writes nothing but the files that are named, and opens no TCP connection. Where it has none, all else
holds. Sources: landlock(7), prctl(2), getrlimit(2).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import struct
import sys
from dataclasses import asdict, dataclass

CANNOT_START = 125
"""Exit code where the program was not started; standard error says why."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_MOST_FILES = 64
_GRACE = 5
"""Seconds of processor time between SIGXCPU, which says why, and SIGKILL."""

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = (1 << bit for bit in (0, 1, 2, 3, 14, 15))
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that a version of Landlock knows, by the first version that knows them."""
_NET_SINCE, _NET_RIGHTS = 4, 3
_SCOPE_SINCE, _SCOPES = 6, 3
"""Abstract sockets of others, and signals to others."""

_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may do.

    Attributes:
        parent: the process that starts it; it ends with that.
        memory: bytes of address space.
        cpu: seconds of processor time.
        file_size: bytes up to which a file may be written.
        readable: files that it may read.
        writable: files and devices that it may read and write.
    """

    parent: int
    memory: int
    cpu: int
    file_size: int
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


def command(limits: Limits, program: str, *arguments: str) -> list[str]:
    """The command line that runs a program so.

    Args:
        limits: what it may do.
        program: its path.
        arguments: of it.
    """
    return [sys.executable, "-I", "-S", __file__, json.dumps(asdict(limits)), program, *arguments]


def landlock_version() -> int:
    """Of the running kernel; 0 where it has no Landlock or does not let us use it."""
    version = _syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(version, 0)


def _restrict(limits: Limits, program: str) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    _limit(resource.RLIMIT_FSIZE, limits.file_size)
    _limit(resource.RLIMIT_CPU, limits.cpu, grace=_GRACE)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != limits.parent:
        raise OSError(errno.ESRCH, "its parent has ended")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if version := landlock_version():
        _enter_landlock(version, limits, program)
    # Python ignores these two, and a program inherits that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    # Last, so that Python has memory for all that.
    _limit(resource.RLIMIT_AS, limits.memory)


def _limit(what: int, value: int, *, grace: int = 0) -> None:
    """Set a limit that cannot be raised again; one that is lower already stays."""
    _, most = resource.getrlimit(what)
    soft, hard = (wanted if most == resource.RLIM_INFINITY else min(wanted, most) for wanted in (value, value + grace))
    resource.setrlimit(what, (soft, hard))


def _enter_landlock(version: int, limits: Limits, program: str) -> None:
    known = max(rights for since, rights in _FS_RIGHTS.items() if since <= version)
    attributes = struct.pack("=Q", known)
    if version >= _NET_SINCE:
        attributes += struct.pack("=Q", _NET_RIGHTS)
    if version >= _SCOPE_SINCE:
        attributes += struct.pack("=Q", _SCOPES)
    ruleset = _checked(_syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    read, use = _READ_FILE, _EXECUTE | _READ_FILE | _READ_DIR
    for path in (*_LIBRARIES, program):
        _allow(ruleset, path, use & known, optional=path != program)
    for path in _DEVICES:
        _allow(ruleset, path, read | _WRITE_FILE, optional=True)
    for path in limits.readable:
        _allow(ruleset, path, read)
    for path in limits.writable:
        _allow(ruleset, path, (read | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) & known)
    _checked(_syscall(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int, *, optional: bool = False) -> None:
    """Allow something on a file, or on all beneath a folder; one that is optional may be missing."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if optional:
            return
        raise
    try:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 -- no folder's rights on a file
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(option, *(ctypes.c_ulong(number) for number in (value, 0, 0, 0))))


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = (ctypes.c_long(item) if isinstance(item, int) else item for item in arguments)
    result: int = libc.syscall(ctypes.c_long(number), *passed)
    return result


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _main(text: str, program: str, *arguments: str) -> None:
    try:
        _restrict(Limits(**json.loads(text)), program)
        os.execv(program, [program, *arguments])  # noqa: S606 -- to become it is what this is for
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{program} cannot be started: {error}\n")
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    _main(*sys.argv[1:])
