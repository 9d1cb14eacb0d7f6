"""Runs the cluster's programs as plain processes that cannot outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from dataimportcron.errors import TransientError

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Between fork and exec: be killed when the thread that forked ends, however it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Processes:
    """Named processes, each with a log of its name.

    What they keep is thrown away with them, so they are killed, not asked: the API server alone takes ten seconds to
    end when asked. They must be started by the main thread, whose end is theirs.

    Attributes:
        logs: the folder of NAME.log.
    """

    def __init__(self, logs: Path, path: Sequence[Path]) -> None:
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # Nothing of the caller's environment: a proxy's variables would lead out of the machine.
        self.environment = {"PATH": os.pathsep.join([*map(str, path), os.defpath, "/usr/sbin:/sbin"]), "HOME": "/root"}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a program; its words go to its log."""
        self._commands[name] = list(command)
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment | dict(environment or {}),
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call that needs nothing of a lock's
            )

    def restart(self, name: str) -> None:
        """Kill a program, and start it as it was."""
        self.kill(name)
        self.start(name, self._commands[name])

    def kill(self, name: str) -> None:
        """Kill a program and wait for its end."""
        process = self._running.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()

    def kill_all(self) -> None:
        """Kill all, the last one that was started first."""
        for process in reversed(self._running.values()):
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def pid(self, name: str) -> int:
        """The process id of a program that runs."""
        return self._running[name].pid

    def name_of(self, pid: int) -> str | None:
        """The name of a program by its process id, None for somebody else's."""
        return next((name for name, process in self._running.items() if process.pid == pid), None)

    def wait_until(self, what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for a condition.

        Raises:
            TransientError: it does not come true in time, or a program has ended; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise TransientError(f"{name} ended with {process.returncode}:\n{self._words(name)}")
            if time.monotonic() > deadline:
                raise TransientError(f"After {seconds:.0f} s still not: {what}; the logs are in {self.logs}")
            time.sleep(0.05)

    def _words(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]
