"""The home on one host: objects are YAML files, volumes are files, the importer is a subprocess.

`state` is the folder that all of it lives in; `records`, `store` and `scan` are the objects, `objects` the ports
`Objects` and `Events` over them; `volumes`, `cloner`, `importer` and `source` are the other ports, `access` what they
read registries with, `dev_server` the embedded Temporal server.
"""
