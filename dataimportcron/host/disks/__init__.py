"""Volumes as files of storage folders, and who uses one."""
