"""The program as others run it: a process, a real registry with TLS, real signals."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dataimportcron.importer.report import Phase, parse_line
from demo.push import LAYER_ZSTD, Image, blob_of, disk_layer, push, push_index
from demo.push import Layer as PushedLayer
from demo.registry import client, registry
from tests.importer.conftest import patchwork, qcow2_of, sha256, tar_of
from tests.support.fault_registry import fault_registry
from tests.support.importing import run, start, until_read

MIB = 1 << 20
SIZE = 8 * MIB
LARGE = 24 * MIB
# bcrypt of "secret", of the cheapest kind.
HTPASSWD = "robot:$2b$04$jUZBhbH6sFN8CtcSnESSr.AvzSHvTXp6wg7uQHpERirknxwmTLywW\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A registry that asks for a password, with a small image (in an index) and a large one."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    with (
        registry(folder / "server", auth=auth) as running,
        client(running, auth=("robot", "secret")) as http,
    ):
        yield Served(folder, running, http)


class Served:
    def __init__(self, folder, running, http):
        self.running = running
        self.raw = patchwork(6 * MIB, 21)
        image = qcow2_of(self.raw, folder, compress=True)
        small = Image(layers=(disk_layer(image, folder),), env=("OS=linux",), architecture="arm64")
        manifest = push(http, "disks/small", "one", small)
        self.index = push_index(http, "disks/small", "latest", {"amd64": manifest, "arm64": manifest})
        self.manifest = manifest
        self.noise = os.urandom(LARGE)
        (folder / "noise").write_bytes(self.noise)
        self.large = push(http, "disks/large", "latest", Image(layers=(disk_layer(folder / "noise", folder),)))
        bomb = folder / "bomb"
        tar = tar_of(("disk/zeros", bytes(256 * MIB)))
        bomb.write_bytes(gzip.compress(tar, 1))
        layer = PushedLayer(blob=blob_of(bomb), diff_id=sha256(tar))
        self.bomb = push(http, "disks/bomb", "latest", Image(layers=(layer,)))
        push(http, "disks/zstd", "latest", Image(layers=(disk_layer(image, folder, media_type=LAYER_ZSTD),)))
        self.secret, self.certs = folder / "secret", folder / "certs"
        self.secret.mkdir()
        (self.secret / "accessKeyId").write_text("robot")
        (self.secret / "secretKey").write_text("secret")
        self.certs.mkdir()
        (self.certs / "ca.crt").write_bytes(running.ca.read_bytes())

    def arguments(self, name, bench, size=SIZE):
        source = ["--source", f"docker://{self.running.host}/disks/{name}", "--target", bench.target]
        return [*source, "--size", size, "--secret-dir", self.secret, "--cert-dir", self.certs]


@pytest.mark.parametrize("reference", ["tag", "index digest", "manifest digest"])
def test_an_import_and_the_same_again(served, bench, reference):
    digest = served.manifest if reference == "manifest digest" else served.index
    name = "small:latest" if reference == "tag" else f"small@{digest}"
    code, progress, result = run(*served.arguments(name, bench), "--platform", "linux/arm64")
    assert (code, result.phase, result.format, result.env) == (0, "Succeeded", "qcow2", {"OS": "linux"})
    assert (result.digest, result.manifest_digest) == (digest, served.manifest)
    assert bench.target.read_bytes() == served.raw.ljust(SIZE, b"\0")
    assert progress[0].phase == Phase.RESOLVING
    assert json.loads(bench.marker.read_text())["digest"] == digest
    changed = bench.target.stat().st_mtime_ns
    code, progress, result = run(*served.arguments(name, bench), "--platform", "linux/arm64")
    assert (code, result.bytes_read, progress[-1].phase) == (0, 0, Phase.COMPLETE)
    assert bench.target.stat().st_mtime_ns == changed


def test_an_index_and_its_manifest_are_the_same_image(served, bench):
    platform = ["--platform", "linux/amd64"]
    # An index has said whom its manifest is for: what the configuration says is not asked.
    assert run(*served.arguments(f"small@{served.index}", bench), *platform)[0] == 0
    code, _, result = run(*served.arguments(f"small@{served.manifest}", bench), *platform)
    assert (code, result.bytes_read) == (0, 0)


def test_certificates_of_another_name(served, bench, tmp_path):
    (tmp_path / "authority.pem").write_bytes((served.certs / "ca.crt").read_bytes())
    assert run(*served.arguments("small", bench), "--cert-dir", tmp_path)[0] == 0


def test_a_mirror_is_asked(bench, tmp_path):
    (tmp_path / "quay.example").mkdir()
    with fault_registry() as mirror:
        (tmp_path / "quay.example" / "hosts.toml").write_text(f'server = "{mirror.url}"\n')
        source = ["--source", "docker://quay.example/disk", "--target", bench.target, "--size", SIZE]
        code, _, result = run(*source, "--mirrors", tmp_path)
    assert (code, result.reason) == (2, "ImageNotFound")


def test_a_layer_compressed_by_zstd(served, bench):
    code, _, result = run(*served.arguments("zstd", bench))
    assert (code, result.format) == (0, "qcow2")
    assert bench.target.read_bytes() == served.raw.ljust(SIZE, b"\0")


def test_a_complete_target_needs_no_registry(served, bench):
    arguments = served.arguments(f"small@{served.index}", bench)
    assert run(*arguments)[0] == 0
    arguments[1] = arguments[1].replace(served.running.host, "127.0.0.1:1")
    assert run(*arguments)[0] == 0


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"--source": "docker://HOST/disks/small:none"}, 2, "ImageNotFound"),
        ({"--source": "docker://HOST/disks/none"}, 2, "ImageNotFound"),
        ({"--source": "docker://127.0.0.1:1/disks/small"}, 1, "RegistryUnavailable"),
        ({"--source": "docker://HOST/Disks/small"}, 2, "InvalidReference"),
        ({"--source": "https://HOST/disks/small"}, 2, "InvalidSpec"),
        ({"--platform": "linux/s390x"}, 2, "PlatformNotFound"),
        ({"--source": "docker://HOST/disks/large", "--platform": "linux/arm64"}, 2, "PlatformNotFound"),
        ({"--cert-dir": None}, 2, "UntrustedCertificate"),
        ({"--cert-dir": "/does/not/exist"}, 2, "MissingDependency"),
        ({"--secret-dir": None}, 2, "Unauthorized"),
        ({"--size": "1000000"}, 2, "VolumeTooSmall"),
        ({"--size": "ten"}, 2, "InvalidSpec"),
        ({"--size": None}, 2, "InvalidSpec"),
        ({"--target": "/does/not/exist"}, 2, "MissingDependency"),
    ],
)
def test_failures_say_why(served, bench, change, code, reason):
    given = served.arguments("small", bench)
    options = dict(zip(given[::2], given[1::2], strict=True)) | change
    options = {name: str(value).replace("HOST", served.running.host) for name, value in options.items() if value}
    found, _, result = run(*(part for option in options.items() for part in option))
    assert (found, result.phase, result.reason, result.permanent) == (code, "Failed", reason, code == 2)
    assert result.message
    assert not bench.marker.exists()


def test_killed_in_the_middle_then_again(served, bench):
    arguments = served.arguments(f"large@{served.large}", bench, LARGE)
    with start(*arguments, "--rate", 12 * MIB) as process:
        until_read(process, LARGE // 3)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not bench.marker.exists()
    assert run(*arguments)[0] == 0
    assert bench.target.read_bytes() == served.noise
    assert {path.name for path in bench.folder.iterdir()} == {bench.target.name, bench.marker.name}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(served, bench, number):
    with start(*served.arguments("large", bench, LARGE), "--rate", 6 * MIB) as process:
        until_read(process, LARGE // 3)
        began = time.monotonic()
        process.send_signal(number)
        *_, last = process.stdout.read().splitlines()
        assert process.wait(10) == 1
    assert time.monotonic() - began < 4
    result = parse_line(last)
    assert (result.reason, result.permanent) == ("Terminated", False)
    assert not bench.marker.exists()


def test_it_ends_with_its_parent(served, bench):
    arguments = served.arguments("large", bench, LARGE)
    with start(*arguments, "--rate", 6 * MIB, "--watch-stdin", stdin=subprocess.PIPE) as process:
        until_read(process, LARGE // 3)
        began = time.monotonic()
        process.stdin.close()
        assert process.wait(10) == 1
    assert time.monotonic() - began < 4
    assert not bench.marker.exists()


def test_it_ends_when_nobody_reads(served, bench):
    with start(*served.arguments("large", bench, LARGE), "--rate", 6 * MIB) as process:
        until_read(process, LARGE // 3)
        process.stdout.close()
        assert process.wait(10) == 1
    assert not bench.marker.exists()


def test_two_at_once(served, bench):
    arguments = served.arguments(f"large@{served.large}", bench, LARGE)
    with start(*arguments, "--rate", 8 * MIB) as process:
        until_read(process, LARGE // 3)
        code, _, result = run(*arguments)
        assert (code, result.reason, result.permanent) == (1, "TargetBusy", False)
        process.stdout.read()
        assert process.wait(30) == 0
    assert bench.target.read_bytes() == served.noise


def test_progress_is_a_few_lines_per_second(served, bench):
    began = time.monotonic()
    code, progress, result = run(*served.arguments("large", bench, LARGE), "--rate", 12 * MIB)
    took = time.monotonic() - began
    downloading = [step for step in progress if step.phase == Phase.DOWNLOADING]
    assert (code, result.bytes_read) == (0, progress[-1].bytes_read)
    assert 3 <= len(downloading) <= 4 * took + 1
    read = [step.bytes_read for step in downloading]
    assert read == sorted(read)
    assert {step.bytes_total for step in downloading} == {result.bytes_read}
    assert downloading[-1].virtual_size == LARGE


# Of the process itself: what wait4 says of a child includes its parent's size at the fork.
PEAK = """
import sys
from pathlib import Path
from dataimportcron.importer.__main__ import main
code = main(sys.argv[1:])
status = Path("/proc/self/status").read_text()
print(code, next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["bomb", "large"])
def test_it_takes_little_memory(served, bench, name):
    arguments = served.arguments(name, bench, 256 * MIB)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    code, peak = done.stderr.split()
    assert code == "0", done.stdout
    assert int(peak) < 80 * 1024
    if name == "bomb":
        assert bench.target.stat().st_blocks * 512 < MIB
    assert bench.target.stat().st_size == 256 * MIB


def test_a_bomb_larger_than_the_volume_is_refused(served, bench):
    code, _, result = run(*served.arguments(f"bomb@{served.bomb}", bench, 64 * MIB))
    assert (code, result.reason) == (2, "VolumeTooSmall")


def test_help_is_for_a_person():
    with start("--help") as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    for word in ("--source", "--secret-dir", "exit code", "example", "--rate"):
        assert word in out


def test_what_it_needs_is_little():
    program = (
        "import sys; import dataimportcron.importer.__main__, dataimportcron.importer.run, "
        "dataimportcron.importer.source.registry_image; print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "isal" in out
    assert not {"backports.zstd", "pydantic", "temporalio", "kubernetes", "numpy", "yaml", "croniter"} & set(out)
