"""Clones: which way, from what, by whom, and the hand-over to another namespace."""
