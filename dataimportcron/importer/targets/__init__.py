"""Where a disk goes, a file or a block device: locked, written from nothing, complete only when a marker says so.

`lock` finds out what the target is and holds it alone, `kinds` empties it and makes it durable, `marker` records what a
complete one holds. `device` knows block devices, `storage` what the operating system's errors mean.
"""
