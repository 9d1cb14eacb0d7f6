"""The sentences with which a document of the three kinds is refused, each once.

They are CDI's where CDI refuses the same. `rules` and `volume_rules` say them of a document, `admission` has the API
server say them; a test holds that no sentence is said by the one alone without a reason.
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """What is wrong. Some are the end of a sentence whose beginning depends on the case."""

    NAME_TOO_LONG = "Name cannot be longer than 63 characters"
    SCHEDULE = "Illegal cron schedule"
    DATA_SOURCE_NAME = "Illegal ManagedDataSource value"
    IMPORTS_TO_KEEP = "Illegal ImportsToKeep value"
    GARBAGE_COLLECT = "Illegal GarbageCollect value"
    UNSETTABLE = "Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint"
    NO_CRON_SOURCE = "Missing source"
    EXTERNAL = "External population is incompatible with Source and SourceRef"

    NO_SOURCE = "Missing Data volume source"
    MANY_SOURCES = "Multiple Data volume sources"
    SOURCE_OR_REFERENCE = "Data volume should have either Source or SourceRef, or be externally populated"
    NO_REFERENCE_KIND = "Missing sourceRef kind"
    REFERENCE_KIND = "currently only DataSource is supported"
    NO_REFERENCE_NAME = "Missing sourceRef name"
    CONTENT_TYPE = "ContentType not one of: kubevirt, archive"
    BLANK_ARCHIVE = "SourceType cannot be blank and the contentType be archive"
    REGISTRY_ARCHIVE = "ContentType must be kubevirt when Source is Registry"

    URL_OR_STREAM = "Source registry should have either URL or ImageStream"
    PULL_METHOD = 'is neither pod, node or ""'
    STREAM_NEEDS_NODE = "Source registry ImageStream is supported only with node pull import method"
    STREAM_NAME = "Illegal ImageStream name"
    REGISTRY_SCHEME = "Illegal registry source URL scheme"
    REGISTRY_URL = "Illegal registry source URL"
    NO_WEB_URL = "source URL is empty"
    WEB_SCHEME = "Invalid source URL scheme"
    WEB_URL = "Invalid source URL"

    NO_STORAGE = "Missing Data volume PVC"
    TWO_STORAGES = "Duplicate storage definition, both target storage and target pvc defined"
    NO_ACCESS_MODE = "Required value: at least 1 access mode is required"
    MANY_ACCESS_MODES = "PVC multiple accessModes"
    UNSUPPORTED = "Unsupported value"
    NO_SIZE = "size is missing"
    NOT_POSITIVE = "size can't be equal or less than zero"
    TOO_SMALL = "size can't be less than 1MiB"
    NO_QUANTITY = "is no quantity"

    EMPTY = "must not be empty"
    REQUIRED = "is required"
    OBJECT_NAME = "is no object name"
    NAMESPACE = "is no namespace"
    STORAGE_CLASS_NAME = "is no storage class name"
    QUALIFIED_NAME = "is no qualified name"
    LABEL_VALUE = "is no label value"
    ANNOTATIONS_TOO_LARGE = "are too large"
