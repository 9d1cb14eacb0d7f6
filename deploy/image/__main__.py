"""`make image`: builds what has changed, and says where the image is and what it is called."""

from __future__ import annotations

import argparse
import sys

from dataimportcron.errors import DataImportCronError
from deploy.image.build import CHECKOUT, Image, build, cache

_MIB = 1 << 20


def main() -> int:
    """Build, and tell a person."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image", description="Build the container image.")
    parser.add_argument("--fresh", action="store_true", help="take Debian's newest packages")
    try:
        image = build(CHECKOUT, cache(), fresh=parser.parse_args().fresh)
    except DataImportCronError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(_told(image))
    return 0


def _told(image: Image) -> str:
    packed, unpacked = (
        sum(sizes) // _MIB for sizes in zip(*((each.size, each.unpacked) for each in image.layers), strict=True)
    )
    return (
        f"image    dataimportcron:{image.about.version} for linux/{image.about.architecture}, "
        f"{packed} MiB to pull, {unpacked} MiB unpacked\n"
        f"digest   {image.digest}\n"
        f"archive  {image.path}\n"
        f"SBOM     {image.sbom}\n"
        f"push     skopeo copy --preserve-digests oci-archive:{image.path} docker://REGISTRY/dataimportcron:{image.about.version}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
