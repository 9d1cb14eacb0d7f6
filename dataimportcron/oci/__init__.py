"""The client of OCI registries: references in, verified manifests and streams of blobs out.

`registry` is the client, `access` what it is given, `transport` sends its requests: `endpoints` says where to (mirrors
first), `auth` as whom, `failures` what went wrong. `manifest` is what the documents mean, `bodies` bounds and verifies
them. Synchronous: the worker runs it in threads, the importer is threads.
"""
