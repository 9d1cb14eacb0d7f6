"""The image that this checkout makes, once for all tests, and a way to run it as a cluster would."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.image.build import CHECKOUT, Image, build, cache

# What a pod with a read-only root, no capabilities and a /tmp of its own sees of the image.
_CONTAINER = """
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
exec chroot "$root" setpriv --reuid "$USER" --regid "$GROUP" --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all env -i HOME=/tmp "PATH=$IMAGE_PATH" "$@"
"""


@dataclass(frozen=True)
class Unpacked:
    """The image's documents, and its files in a folder."""

    root: Path
    index: dict
    manifest: dict
    config: dict

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, with what the image's configuration says."""
        settings = self.config["config"]
        user, group = settings["User"].split(":")
        [path] = [entry.removeprefix("PATH=") for entry in settings["Env"] if entry.startswith("PATH=")]
        names = {"USER": user, "GROUP": group, "IMAGE_PATH": path}
        shell = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", _CONTAINER, "sh", str(self.root), *command]
        become_root = [] if os.geteuid() == 0 else ["sudo", "-n", "--preserve-env=USER,GROUP,IMAGE_PATH", "--"]
        return subprocess.run(
            [*become_root, *shell], env=os.environ | names, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def image() -> Image:
    return build(CHECKOUT, cache())


@pytest.fixture(scope="session")
def unpacked(image, tmp_path_factory) -> Unpacked:
    layout, root = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("root")
    subprocess.run(["tar", "-C", layout, "-xf", image.path], check=True)

    def blob(descriptor: dict) -> Path:
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    config = json.loads(blob(manifest["config"]).read_text())
    root.chmod(0o755)
    for layer in manifest["layers"]:
        subprocess.run(["tar", "-C", root, "-xf", blob(layer)], check=True)
    return Unpacked(root=root, index=index, manifest=manifest, config=config)
