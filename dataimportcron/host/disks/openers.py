"""Who has a file open: the kernel says whether anybody has, /proc says who, and what neither can say is said."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path


def opener_of(path: Path) -> str:
    """Who has a file open, in one sentence; "" when surely nobody has."""
    opened = _is_open(path)
    if opened is False:
        return ""
    user, hidden = _opened_by(path)
    if user:
        return user
    if opened:
        return f"{path} is open: by a process that cannot be looked at, or as a loop device"
    return f"whether {path} is open cannot be known: {hidden}" if hidden else ""


def _is_open(path: Path) -> bool | None:
    """Whether anybody at all has a file open; None where the file system, or our rights, give no answer.

    The kernel gives a lease for writing only on a file that nobody else has open, whoever it is: a process of another
    user or in another mount namespace, a mapping, a loop device. It is given back at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Who opens the file just now sends us a signal. The usual one would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(descriptor)


def _opened_by(path: Path) -> tuple[str, str]:
    """The process that has a file open, and one that could not be looked at; each a sentence, "" if there is none."""
    wanted, hidden = path.stat(), ""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    if os.path.samestat(descriptor.stat(), wanted):
                        return f"process {process.name} ({_command_of(process)}) has {path} open", hidden
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except OSError as error:
            hidden = hidden or f"process {process.name} cannot be looked at: {error.strerror}"
    return "", hidden


def _command_of(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "ended"
