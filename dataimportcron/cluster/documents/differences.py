"""What differs between two documents, as the JSON merge patch that turns one into the other."""

from __future__ import annotations

from dataimportcron.cluster.client.resources import Json


def merge_patch(before: Json, after: Json) -> Json:
    """The RFC 7386 patch from `before` to `after`, {} where they are equal; lists are replaced whole."""
    patch: Json = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif key not in before or value != old:
            patch[key] = value
    return patch
