"""OpenShift's ImageStreams: which image one means now (P-12, P-13).

Only the object is read; who imports images into the stream, and where they are stored, is the cluster's.
"""

from __future__ import annotations

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import IMAGE_STREAMS, Json
from dataimportcron.errors import ImageNotFoundError, InvalidReferenceError, NotServedError, ObjectNotFoundError
from dataimportcron.values import ImageSource, ResolvedImage


class ImageStreams:
    """The ImageStreams of a cluster."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def resolve(self, image: ImageSource) -> ResolvedImage:
        """Read what the ImageStream of a source means now.

        Raises:
            InvalidReferenceError: it is no name of an ImageStream.
            ImageNotFoundError: there is no such ImageStream, tag or image.
        """
        name, tag = split(image.image_stream)
        try:
            stream = await self._connection.get(IMAGE_STREAMS, name, image.namespace)
        except (ObjectNotFoundError, NotServedError) as error:
            raise ImageNotFoundError(
                f"ImageStream {image.namespace}/{name} not found: {error.message}",
                hint="create it in the namespace of the DataImportCron",
            ) from error
        return newest(stream, tag)


def split(image_stream: str) -> tuple[str, str]:
    """Name and tag of `name[:tag]`; the tag is "" where none is named.

    Raises:
        InvalidReferenceError: it is neither form.
    """
    name, colon, tag = image_stream.partition(":")
    if not name or (colon and not tag) or ":" in tag:
        raise InvalidReferenceError(f"Illegal ImageStream name {image_stream!r}", hint="write NAME or NAME:TAG")
    return name, tag


def newest(stream: Json, tag: str) -> ResolvedImage:
    """The newest image of a tag, of the first one where no tag is named.

    Raises:
        ImageNotFoundError: there is none.
    """
    name = f"ImageStream {stream['metadata'].get('namespace', '')}/{stream['metadata']['name']}"
    tags = (stream.get("status") or {}).get("tags") or ()
    found = next((it for it in tags if not tag or it.get("tag") == tag), None)
    if found is None:
        raise ImageNotFoundError(f"{name} has no tag {tag}".rstrip(), hint="see its status.tags")
    items = found.get("items") or ()
    if not items:
        raise ImageNotFoundError(
            f"{name} tag {found.get('tag')} has no items", hint="no image has been imported into it"
        )
    digest = str(items[0]["image"])
    return ResolvedImage(digest=digest, manifest_digest=digest, image=str(items[0]["dockerImageReference"]))
