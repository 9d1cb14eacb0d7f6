"""The demonstration: real container disks, a real registry and a real Temporal server, told as one story.

`images` makes bootable disks on the spot. Nothing in here reaches the wheel, and the program never imports it.
"""
