"""A disk on its way: which format it has, and how it becomes a raw disk.

`formats` decides. raw is written as it comes, qcow2 by `conversion` (`qcow2` reads its numbers, `compressed` its
compressed clusters), both to `writer`. `packed` unpacks disks that are compressed as a file. `foreign` looks at other
formats, `qemu_img` converts them, confined by `sandbox`.
"""
