"""The test cluster by hand.

python -m tests.cluster up       a cluster until `down`; prints how to use it
python -m tests.cluster down     ends it, or removes what a killed one has left
python -m tests.cluster status   whose cluster runs on this machine
python -m tests.cluster build    builds its programs, where they are not yet
"""

from __future__ import annotations

import sys

from dataimportcron.errors import DataImportCronError
from tests.cluster import full
from tests.cluster.binaries import PARTS, binaries
from tests.cluster.keeper import check_machine, owner


def _up() -> None:
    running = full.up()
    programs = binaries("control-plane")
    sys.stdout.write(f"""\
export KUBECONFIG={running.kubeconfig} PATH={programs}:$PATH
# no proxy leads to it:
export NO_PROXY=198.18.0.0/15
# another user, who may do nothing: {running.user_kubeconfig}
# registry: {running.registry}, its authority: {running.registry_ca}; logs: {running.folder / "logs"}
""")


def _status() -> None:
    found = owner()
    sys.stdout.write(f"a cluster of {found['checkout']}, pid {found['pid']}\n" if found else "no cluster\n")


def _build() -> None:
    for part in PARTS:
        binaries(part)


def main() -> None:
    """Do what is asked."""
    commands = {"up": _up, "down": full.down, "status": _status, "build": _build}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        check_machine()
        commands[sys.argv[1]]()
    except DataImportCronError as error:
        sys.exit(f"cluster: {error}")
    except KeyboardInterrupt:
        sys.exit("cluster: interrupted; nothing of it is left")


if __name__ == "__main__":
    main()
