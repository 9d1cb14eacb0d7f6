"""A disk on its way: which format it has, and how it becomes a raw disk while it streams by."""
