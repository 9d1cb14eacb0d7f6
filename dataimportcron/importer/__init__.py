"""The data-plane program: a container disk in, a raw disk out, in one pass. Usable alone, without Temporal.

Read in this order; each module knows only those below it:

    __main__                        command line, signals, exit code
    report                          the lines that it prints, and their reader
    run                             one import, from lock to marker
    registry_image, local_image     where bytes come from
    archive, image
    target                          lock, marker, fsync
    pipeline, stages                one layer through its threads
    decompress, zstd                layers in bounded steps
    catalog, tar, streams           the layer as a stream of entries, and what /disk holds over all layers
    formats                         raw or qcow2
    conversion, compressed, qcow2   qcow2 to raw while it streams by
    disk, sparse                    what is written

It imports neither temporalio nor kubernetes nor pydantic: it starts in every import pod.
"""
