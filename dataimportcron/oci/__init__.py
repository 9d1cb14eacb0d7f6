"""What the OCI specifies: registries and their client, image layouts in archives, layers as tars.

`registry` is the client, `access` what it is given, `transport` sends its requests: `endpoints` says where to (mirrors
first), `auth` as whom, `failures` what went wrong. `manifest` is what the documents mean, `bodies` bounds and verifies
them. `archive` reads an image layout in a tar; `tar` and `streams` read a tar as it comes. Synchronous: the worker runs
it in threads, the importer is threads.
"""
