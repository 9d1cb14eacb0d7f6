"""The data-plane program: a container disk in, a raw disk out, in one pass. Usable alone, without Temporal.

Read in this order; each module knows only those below it:

    __main__        command line, signals, exit code
    report          the lines that it prints, and their reader
    run             one import, from lock to marker
    volumes         one volume from another, or from nothing
    source/         where bytes come from: a registry, an OCI archive, a plain file
    layer/          one layer through its threads, and what /disk holds over all layers
    disk/           raw or qcow2 to raw while it streams by, and what is written
    targets/        a file or a block device: lock, zeros, fsync, marker
    decompress      layers in bounded steps; zstd beside it

Images, tars and streams are the OCI's and stand in `dataimportcron.oci`. It imports neither temporalio nor kubernetes
nor pydantic: it starts in every import pod.
"""
