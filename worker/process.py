"""How the worker's process treats memory: it lives for months, is busy for seconds, and then rests."""

from __future__ import annotations

import gc

from dataimportcron.importer.libc import return_freed_memory

_YOUNG = 10_000
"""Objects more than before after which Python looks for cycles. A tick of a thousand crons makes tens of thousands of
objects that all go by themselves; Python's own 700 would look through them again and again."""


def tune() -> None:
    """Called once, before it serves; what is loaded by then is never looked through again."""
    return_freed_memory()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
