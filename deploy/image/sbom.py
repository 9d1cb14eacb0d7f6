"""What is inside an image, as CycloneDX 1.5: scanners match its package URLs with what is known to be vulnerable."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.image.archive import About
from deploy.image.layers import Component

_DEBIAN = 12


def write(path: Path, components: Iterable[Component], about: About, digest: str) -> None:
    """Write the SBOM of the image whose manifest has `digest`."""
    image = f"pkg:oci/dataimportcron@{quote(digest, safe='')}?arch={about.architecture}&tag={about.version}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        # Of the content, so that the same image has the same SBOM.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image)}",
        "metadata": {
            "timestamp": about.time,
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": "dataimportcron",
                "version": about.version,
                "purl": image,
            },
        },
        "components": [_component(component) for component in components],
    }
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _component(component: Component) -> dict[str, Any]:
    purl = _purl(component)
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": component.name,
        "version": component.version,
        "purl": purl,
    }
    if component.licence:
        found["licenses"] = [{"expression": component.licence}]
    return found


def _purl(component: Component) -> str:
    version = quote(component.version, safe="")
    if component.kind == "deb":
        return f"pkg:deb/debian/{component.name}@{version}?arch={component.architecture}&distro=debian-{_DEBIAN}"
    return f"pkg:pypi/{component.name}@{version}"
