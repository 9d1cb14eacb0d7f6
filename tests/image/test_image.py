"""The image that `make image` builds: valid, the same twice, small in rights, quick to start, and its SBOM complete."""

import importlib.metadata
import json
import os
import re
import subprocess
import tarfile

import pytest
from packaging.utils import canonicalize_name

from deploy.image import debian, python
from deploy.image.build import CHECKOUT


def test_skopeo_takes_it_and_calls_it_what_we_do(image, tmp_path):
    copy = f"oci:{tmp_path}/copy:1"
    subprocess.run(["skopeo", "copy", "--quiet", "--preserve-digests", f"oci-archive:{image.path}", copy], check=True)
    shown = json.loads(subprocess.run(["skopeo", "inspect", copy], capture_output=True, check=True).stdout)
    assert shown["Digest"] == image.digest
    assert (shown["Os"], shown["Architecture"]) == ("linux", debian.architecture())


def test_it_says_what_it_is(unpacked):
    commit = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    labels = unpacked.config["config"]["Labels"]
    assert labels == unpacked.manifest["annotations"]
    assert labels["org.opencontainers.image.title"] == "dataimportcron"
    assert labels["org.opencontainers.image.version"] == importlib.metadata.version("dataimportcron")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit.stdout.strip()
    assert labels["org.opencontainers.image.created"] == unpacked.config["created"]


def test_the_same_code_gives_the_same_layer(image, tmp_path):
    root = image.layers[0].path.parent / "root"
    for build in ("first", "second"):
        (tmp_path / build).mkdir()
    layers = [
        python.application(root, python.build_wheel(CHECKOUT, tmp_path / build), tmp_path / build)
        for build in ("first", "second")
    ]
    assert layers[0].digest == layers[1].digest == image.layers[2].digest


def test_no_file_is_anybody_elses_or_gives_rights_or_has_a_time(image):
    for layer in image.layers:
        with tarfile.open(layer.path) as tar:
            wrong = [
                member.name
                for member in tar
                if member.uid or member.gid or member.mtime or member.mode & 0o6000 or member.isdev()
            ]
        assert not wrong


def test_the_root_can_be_read_only(unpacked):
    shown = unpacked.run("dataimportcron", "version")
    assert shown.stdout == f"dataimportcron {importlib.metadata.version('dataimportcron')}\n", shown.stderr
    assert unpacked.run("sh", "-c", "id -u; id -g; touch /tmp/file").stdout.split() == ["107", "107"]
    assert "Read-only file system" in unpacked.run("touch", "/file").stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("python", "-m", "dataimportcron.importer", "--help"), "usage: dataimportcron import"),
        (("qemu-img", "--version"), "qemu-img version"),
        (("temporal", "--version"), "temporal version"),
        (("busybox", "true"), ""),
        (("python", "-c", "import zoneinfo; zoneinfo.ZoneInfo('Europe/Paris')"), ""),
        (("python", "-c", "import ssl; assert ssl.create_default_context().get_ca_certs()"), ""),
        (("python", "-c", "import worker.run, kubernetes.aio"), ""),
    ],
)
def test_its_programs_run(unpacked, command, said):
    done = unpacked.run(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)


def test_an_import_writes_a_disk(unpacked):
    done = unpacked.run(
        "sh",
        "-ec",
        "truncate -s 1M /tmp/raw.img && qemu-img convert -q -O qcow2 /tmp/raw.img /tmp/a.qcow2 &&"
        " python -m dataimportcron.importer --source /tmp/a.qcow2 --target /tmp/b.img --size 1048576 &&"
        " cmp /tmp/raw.img /tmp/b.img",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_starts_with_nothing_that_it_does_not_need_and_all_of_it_compiled(unpacked):
    code = (
        "import sys, dataimportcron.importer.__main__, dataimportcron.importer.source.registry_image;"
        "print([n for n in ('temporalio', 'kubernetes', 'pydantic', 'yaml') if n in sys.modules]);"
        "print(*[m.__cached__ for m in sys.modules.values() if getattr(m, '__cached__', None)], sep='\\n')"
    )
    slow, *compiled = unpacked.run("python", "-c", code).stdout.splitlines()
    assert slow == "[]"
    assert len(compiled) > 50
    missing = [name for name in compiled if not (unpacked.root / name.lstrip("/")).exists()]
    assert not missing
    # Unchecked hashes: files without times would make all other bytecode out of date.
    unchecked = [(unpacked.root / name.lstrip("/")).read_bytes()[4] for name in compiled]
    assert set(unchecked) == {1}


def test_the_program_needs_no_shell(unpacked):
    assert unpacked.config["config"]["Entrypoint"] == ["dataimportcron"]
    program = unpacked.root / python.HOME / "bin" / "dataimportcron"
    assert program.read_text().startswith(f"#!/{python.HOME}/bin/python\n")
    assert os.access(program, os.X_OK)


def test_the_sbom_lists_each_package_that_is_inside(image, unpacked):
    document = json.loads(image.sbom.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert image.digest.removeprefix("sha256:") in document["metadata"]["component"]["purl"]
    listed = {component["purl"].split("?")[0] for component in document["components"]}
    assert len(listed) == len(document["components"])

    status = (unpacked.root / "var/lib/dpkg/status").read_text()
    debian_packages = set(re.findall(r"^Package: (\S+)$", status, re.MULTILINE))
    assert {purl.split("/")[2].split("@")[0] for purl in listed if purl.startswith("pkg:deb/")} == debian_packages
    assert {*debian.PACKAGES, "libc6", "libssl3"} <= debian_packages

    installed = importlib.metadata.distributions(
        path=[str(folder) for folder in (unpacked.root / python.HOME).glob("lib/*/site-packages")]
    )
    expected = {f"pkg:pypi/{canonicalize_name(found.metadata['Name'])}@{found.version}" for found in installed}
    assert {purl for purl in listed if purl.startswith("pkg:pypi/")} == expected
    assert f"pkg:pypi/dataimportcron@{image.about.version}" in expected


def test_the_image_holds_the_versions_that_are_pinned(unpacked):
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (CHECKOUT / "deploy/requirements.txt").read_text(), re.MULTILINE))
    [folder] = (unpacked.root / python.HOME).glob("lib/*/site-packages")
    installed = {
        canonicalize_name(found.metadata["Name"]): found.version
        for found in importlib.metadata.distributions(path=[str(folder)])
    }
    assert installed == pinned | {"dataimportcron": importlib.metadata.version("dataimportcron")}


def test_what_packages_record_is_there(unpacked):
    [folder] = (unpacked.root / python.HOME).glob("lib/*/site-packages")
    gone = [
        str(path)
        for found in importlib.metadata.distributions(path=[str(folder)])
        for path in found.files
        if not found.locate_file(path).exists()
    ]
    assert not gone


def test_licences_stay(unpacked):
    assert (unpacked.root / "usr/share/doc/qemu-utils/copyright").exists()
    assert list(unpacked.root.glob("usr/share/doc/python3*/copyright"))
