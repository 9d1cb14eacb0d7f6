"""What the OCI specifies: registries and their client, image layouts in archives, layers as tars.

`registry` is the client, `access` what it is given, `transport` sends its requests: `endpoints` says where to (mirrors
first), `connections` how (`proxies`, `trust`), `auth` as whom, `limits` not before when, `failures` what went wrong.
`credentials` come from Secrets or, by `docker_config`, from the user's own files. `manifest` is what documents mean,
`bodies` bounds and `digests` verifies them. `archive` reads an image layout in a tar; `tar` and `streams` read any tar
as it comes. Synchronous: the worker runs it in threads, the importer is threads.
"""
