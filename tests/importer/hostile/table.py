"""All cases. A new kind of input gets a module of its own, with a list `CASES`, and a line here."""

from __future__ import annotations

from tests.importer.hostile import disks, documents, layers

CASES = [*disks.CASES, *layers.CASES, *documents.CASES]
