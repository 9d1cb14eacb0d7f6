"""PersistentVolumeClaims: made, followed, and who uses them."""
