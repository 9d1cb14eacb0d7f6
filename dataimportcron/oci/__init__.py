"""The client of OCI registries: references in, verified manifests and blobs out.

`registry` is the client, `endpoints` where it may ask (mirrors first), `auth` how it introduces itself, `credentials`
with what, `manifest` what it reads. Synchronous: the worker runs it in threads, the importer is threads.
"""
