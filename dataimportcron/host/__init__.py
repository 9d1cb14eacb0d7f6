"""The home on one host: objects are YAML files, volumes are files, the importer is a subprocess.

`state` is the folder that all of it lives in, `records` and `store` the objects, `objects` the async port over them,
`volumes`, `cloner`, `importer`, `source` and `events` the other ports, `dev_server` the embedded Temporal server.
"""
