"""The way into a test's Kubernetes: kubeconfigs, kubectl with them, and the plain ones of its requests without it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from dataimportcron.errors import TransientError
from tests.cluster.binaries import binaries
from tests.cluster.rest import Rest

USER: Final = "alice"
"""May do nothing until somebody binds a role to her."""


class Access:
    """To an API server.

    Attributes:
        folder: of all that the cluster keeps.
        url: the API server.
        kubeconfig: of a cluster admin.
        user_kubeconfig: of a user without any right, `USER`.
        ca: PEM file of the cluster's authority.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.ca = folder / "pki" / "ca.crt"
        self.kubeconfig = folder / "pki" / "admin.kubeconfig"
        self.user_kubeconfig = folder / "pki" / f"{USER}.kubeconfig"
        self._rest = Rest(url, folder / "pki")

    @property
    def http(self) -> httpx.Client:
        """Requests of a cluster admin."""
        return self._rest.http

    def close(self) -> None:
        """End the connections to the API server."""
        self._rest.close()

    def kubectl(self, *arguments: str, document: Any = None, user: bool = False) -> str:
        """Run kubectl; returns what it prints.

        Args:
            arguments: its own.
            document: what it reads as `-f -`.
            user: as `USER`, not as admin.

        Raises:
            TransientError: it fails, with its words.
        """
        ended = self._kubectl(arguments, document, self.user_kubeconfig if user else self.kubeconfig)
        if ended.returncode:
            raise TransientError(f"kubectl {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply objects by the server, whoever else has fields in them.

        Raises:
            TransientError: it fails, with the API server's words.
        """
        for document in documents:
            self._rest.apply(document)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Begin to delete an object.

        Raises:
            TransientError: it fails, with the API server's words.
        """
        self._rest.delete(kind, name, namespace)

    def define(self, *definitions: Mapping[str, Any]) -> None:
        """Apply CustomResourceDefinitions, and wait until they are served."""
        self.apply(*definitions)
        self.wait("condition=Established", *(f"crd/{it['metadata']['name']}" for it in definitions))

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, as JSON.

        Raises:
            TransientError: it fails.
        """
        try:
            return self._rest.get(*arguments)
        except ValueError:  # more than we know
            return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def log(self, pod: str, namespace: str) -> str:
        """What a pod has printed so far, "" before it runs."""
        return self._rest.log(pod, namespace)

    def wait(self, condition: str, *arguments: str, seconds: float = 180) -> None:
        """Run `kubectl wait --for=CONDITION`.

        Raises:
            TransientError: it does not come true in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.kubectl("wait", f"--for={condition}", f"--timeout={seconds:.0f}s", *arguments)
            except TransientError as error:
                # kubectl gives up at once on an object so new that it has no conditions.
                if "accessor error" not in error.message or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def answers(self, *arguments: str) -> bool:
        """Whether kubectl succeeds at once."""
        if arguments[0] == "get":
            try:
                self._rest.get(*arguments[1:], timeout=2)
            except TransientError:
                return False
            return True
        return self._kubectl(("--request-timeout=2s", *arguments), None, self.kubeconfig).returncode == 0

    def _kubectl(
        self,
        arguments: tuple[str, ...],
        document: Any,
        kubeconfig: Path,
    ) -> subprocess.CompletedProcess[str]:
        command = [str(binaries("control-plane") / "kubectl"), "--kubeconfig", str(kubeconfig), *arguments]
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={"HOME": str(self.folder), "PATH": os.defpath},  # no proxy's variables; its cache goes with the cluster
            input=None if document is None else json.dumps(document),
        )
