"""A layer on its way: threads from download to tar, and what /disk holds over all layers."""
