"""What is in a Secret or a ConfigMap, as bytes by key."""

from __future__ import annotations

import base64
import binascii

from dataimportcron.api.types import ConfigMap, Secret
from dataimportcron.errors import InvalidObjectError, MissingDependencyError

_CERTIFICATES = (".crt", ".pem")


def secret_contents(secret: Secret) -> dict[str, bytes]:
    """All values, decoded.

    Raises:
        InvalidObjectError: one of them is no base64; it is not shown.
    """
    where = f"Secret {secret.metadata.namespace}/{secret.metadata.name}"
    decoded = {key: _decoded(where, key, value) for key, value in secret.data.items()}
    return decoded | {key: value.encode() for key, value in secret.string_data.items()}


def certificates_in(config_map: ConfigMap) -> dict[str, bytes]:
    """The values that are certificates by their names, which end in .crt or .pem.

    Raises:
        InvalidObjectError: a binary value is no base64.
    """
    where = f"ConfigMap {config_map.metadata.namespace}/{config_map.metadata.name}"
    files = {key: value.encode() for key, value in config_map.data.items()}
    files |= {key: _decoded(where, key, value) for key, value in config_map.binary_data.items()}
    return {key: data for key, data in files.items() if key.endswith(_CERTIFICATES)}


def missing(where: str, member: str) -> MissingDependencyError:
    """The error for one that is named and not there.

    Args:
        where: kind, namespace and name.
        member: of the source, that names it.
    """
    return MissingDependencyError(f"{where}, named by {member}, does not exist", hint="apply it in that namespace")


def _decoded(where: str, key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise InvalidObjectError(f"{where}: the value of {key} is not base64") from error
