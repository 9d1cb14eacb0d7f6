"""The command line of the importer: arguments in, JSON lines out, exit code 0 done, 1 try again, 2 never.

It ends at once on SIGTERM and, with --watch-stdin, when its parent is gone: nothing needs to be tidied up, because
nothing is complete before its marker is written.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from dataimportcron.errors import DataImportCronError, InvalidObjectError, TooManyRequestsError
from dataimportcron.importer.report import BLANK, FAILED, TERMINATED, VOLUME, Progress, Result
from dataimportcron.reference import Reference, is_digest

if TYPE_CHECKING:
    from dataimportcron.importer.source.image import ImageReader

_STDIN, _STDOUT = 0, 1
_INTERVAL = 0.25
"""Seconds between two lines of the same phase."""
_TRY_AGAIN = 1

_DESCRIPTION = """\
Write the disk of a container disk image to a file or block device, as raw.

The image is downloaded, verified, decompressed and converted in one pass: raw
and qcow2 disks with no scratch copy; vmdk, vdi, vhd, vhdx and qed (by
qemu-img), and disks packed by gzip, xz or zstd, through a scratch file beside
the target.

The disk is complete when the marker file exists: that is written last. The
same command again does nothing then, and starts over if it was interrupted.

The target is a file (its holes take no space), a folder, for DIR/disk.img as
KubeVirt names it, or a block device, which reads as zeros behind the disk. The
marker is TARGET.complete, and DIR/.dataimportcron/disk.img.complete in a
folder. A device has none unless --marker names one, and is then written anew
each time.

A volume (a folder with disk.img, a file or a block device) is copied byte by
byte, with holes where there are zeros, and without a marker; where source and
target are the same volume, its disk only becomes as large as --size says."""

_EPILOG = """\
Progress and, in the last line, the result are JSON objects on standard output;
where that is a terminal, `dataimportcron import` shows a bar instead.

exit code: 0 done, 1 it may work later, 2 never until something is changed

examples:
  dataimportcron import --source docker://quay.io/containerdisks/fedora \\
      --target fedora.img --size 10737418240"""

_SOURCE_HELP = (
    "docker://IMAGE, oci-archive:FILE[:TAG], a disk FILE, a FOLDER that is / in an image, "
    "volume:FILE|DIR|/dev/… as it is, or blank: for zeros"
)
_SECRET_HELP = "files accessKeyId and secretKey, or .dockerconfigjson (default: what docker or podman login wrote)"  # noqa: S105 -- no secret


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments as it reports all else."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise InvalidObjectError(message, hint="see --help")


class _Reporter:
    """Prints, not more often than a person can read."""

    def __init__(self) -> None:
        self._phase = ""
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase != self._phase or now - self._last >= _INTERVAL:
            self._phase, self._last = progress.phase, now
            _print(progress.to_json())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code.

    Args:
        arguments: of the command line, without the program's name; None for the process's own.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminated)
    try:
        result = _run(_parser().parse_args(arguments))
    except DataImportCronError as error:
        result = _failure(error)
    except Exception as error:  # noqa: BLE001 -- the last line must say how it ended, whatever it was
        sys.excepthook(type(error), error, error.__traceback__)
        result = Result(phase=FAILED, reason="InternalError", message=f"{type(error).__name__}: {error}")
    _print(result.to_json())
    return result.exit_code


def _run(options: argparse.Namespace) -> Result:
    if options.watch_stdin:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if options.source.startswith((VOLUME, BLANK)):
        return _make_volume(options)
    reader = _reader(options)
    # Imported late: --help and wrong arguments answer at once.
    from dataimportcron.importer.run import Request, run_import  # noqa: PLC0415
    from dataimportcron.importer.targets.lock import place  # noqa: PLC0415

    target, marker = place(options.target, options.marker)
    request = Request(
        target=target,
        marker=marker,
        size=options.size,
        platform=options.platform,
        rate=options.rate,
        preallocate=options.preallocate,
    )
    return run_import(request, reader, _Reporter())


def _make_volume(options: argparse.Namespace) -> Result:
    from dataimportcron.importer.volumes import VolumeRequest, make_volume  # noqa: PLC0415 -- imports need it not

    named = options.source.removeprefix(VOLUME)
    if named in {"", options.source} and options.source != BLANK:
        raise InvalidObjectError(f"--source {options.source!r} names no volume", hint="see --help")
    request = VolumeRequest(
        source=None if options.source == BLANK else Path(named),
        target=options.target,
        size=options.size,
        preallocate=options.preallocate,
    )
    return make_volume(request, _Reporter())


def _reader(options: argparse.Namespace) -> ImageReader:
    """What --source names. A registry's client is loaded only for a registry."""
    source: str = options.source
    digest: str = options.digest or ""
    if source.startswith("docker://"):
        from dataimportcron.importer.source.registry_image import RegistryImage, RegistryOptions  # noqa: PLC0415

        access = RegistryOptions(
            secret_dir=options.secret_dir,
            cert_dir=options.cert_dir,
            mirrors=tuple(options.mirrors),
            insecure=tuple(options.insecure_registry),
        )
        if digest:
            source = f"docker://{Reference.parse(source).with_digest(digest)}"
        return RegistryImage(source, options.platform, access)
    archive = source.startswith("oci-archive:")
    if not source or ("://" in source and not archive):
        raise InvalidObjectError(
            f"--source {source!r} is not read, expected docker://…, oci-archive:…, a file or a folder",
            hint="see --help",
        )
    from dataimportcron.importer.source.local_image import ArchiveImage, FileImage, FolderImage  # noqa: PLC0415

    if archive:
        return ArchiveImage(source, options.platform, digest)
    path = Path(source)
    return FolderImage(path, digest) if path.is_dir() else FileImage(path, digest)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dataimportcron import",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--source", required=True, metavar="SOURCE", help=_SOURCE_HELP)
    add("--digest", type=_digest, metavar="sha256:…", help="that the source must have (default: any)")
    add("--target", required=True, type=Path, metavar="FILE|DIR|/dev/…", help="to write; an old disk is written anew")
    add("--size", required=True, type=_size, metavar="BYTES", help="of the disk to write; the image's must not be more")
    add("--marker", type=Path, metavar="FILE", help="says that the target is complete (default: see above)")
    add("--platform", default="", metavar="OS/ARCH", help="such as linux/arm64 (default: this machine's)")
    add("--cert-dir", type=Path, metavar="DIR", help="CA certificates to trust as well: *.crt and *.pem")
    add("--secret-dir", type=Path, metavar="DIR", help=_SECRET_HELP)
    add("--mirrors", type=Path, action="append", default=[], metavar="DIR", help="containerd's certs.d; repeatable")
    add("--insecure-registry", action="append", default=[], metavar="HOST", help="check no certificate; repeatable")
    add("--rate", type=_bytes, default=0, metavar="BYTES", help="to download per second at most (default: no limit)")
    add("--preallocate", action="store_true", help="leave no holes in a file, so that its space is surely there")
    add("--watch-stdin", action="store_true", help="end as soon as standard input ends")
    return parser


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 62):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes")
    return int(text)


def _digest(text: str) -> str:
    if not is_digest(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no digest, expected sha256: and 64 hexadecimal digits")
    return text


def _size(text: str) -> int:
    if not _bytes(text):
        raise argparse.ArgumentTypeError("a disk of no bytes")
    return int(text)


def _failure(error: DataImportCronError) -> Result:
    return Result(
        phase=FAILED,
        reason=error.reason,
        message=str(error),
        permanent=error.permanent,
        retry_after=error.retry_after if isinstance(error, TooManyRequestsError) else None,
    )


def _print(line: str) -> None:
    """Write one line at once; whoever reads it may be gone, and then nobody wants the disk."""
    try:
        os.write(_STDOUT, f"{line}\n".encode())
    except BrokenPipeError:
        os._exit(_TRY_AGAIN)


def _terminated(number: int, _: FrameType | None) -> None:
    """End now: threads may be in the middle of anything."""
    name = signal.Signals(number).name
    _print(Result(phase=FAILED, reason=TERMINATED, message=f"ended by {name} before it was done").to_json())
    os._exit(_TRY_AGAIN)


def _end_with_parent() -> None:
    try:
        while os.read(_STDIN, 4096):
            pass
    finally:
        os._exit(_TRY_AGAIN)


if __name__ == "__main__":
    sys.exit(main())
