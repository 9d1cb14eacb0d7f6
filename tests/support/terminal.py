"""A program on a terminal of a given size, and all that it has written there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence


class Terminal:
    """Runs one program on a pseudo-terminal of its own, which is its controlling one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.output = ""
        variables = {key: value for key, value in environment.items() if key not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm", **variables},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 -- it only makes a system call
        )
        os.close(theirs)

    def read_until(self, words: str, seconds: float = 60) -> None:
        """Read until the program has written some words."""
        deadline = time.monotonic() + seconds
        while words not in self.output:
            assert time.monotonic() < deadline, f"{words!r} is not in {self.output!r}"
            if not self._read():
                assert words in self.output, f"{words!r} is not in {self.output!r}, and the program has ended"

    def press_ctrl_c(self) -> None:
        """What the key does: a signal to the foreground's processes."""
        os.write(self._ours, b"\x03")

    def end(self, seconds: float = 60) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"the program goes on: {self.output!r}"
        return self.process.wait(seconds)

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)

    def lines(self) -> list[str]:
        """What was ever shown, each redrawn line by itself, without control sequences."""
        return [line for part in self.output.split("\r\n") for line in part.replace("\x1b[K", "").split("\r")]

    def _read(self) -> bool:
        """Whether more may come."""
        readable, _, _ = select.select([self._ours], [], [], 0.2)
        if not readable:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self.output += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
