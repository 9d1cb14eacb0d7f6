"""The one container image for worker, command line and importer, built without a container daemon and without root.

Read in this order:

    __main__    `make image`
    build       what is built, and from what; the cache
    debian      the base layer: a minimal Debian with Python and qemu-img
    python      the layer of dependencies, pinned by hash, and that of this checkout's wheel; both byte-compiled
    layers      a folder as a layer: the same bytes for the same content
    archive     layers as an image in an OCI archive
    sbom        what is inside, as CycloneDX

An image takes three layers, so that a change of our code moves less than a megabyte. Files belong to root, none is
setuid, and their times are 1970-01-01: a layer's digest depends on what is inside and on nothing else.
"""
