"""Following kinds of objects: a list, then what changes."""
