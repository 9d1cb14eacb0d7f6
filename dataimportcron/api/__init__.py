"""The kinds of the API, as CDI's `v1beta1` has them.

`meta`, `sources`, `volumes` and `types` are the models, `conditions` the words of their statuses, `quantity` the sizes,
`documents` the YAML itself. `validation` says what is refused and why; below it `shape` compares a document with
the models, `metadata`, `rules` and `volume_rules` hold what goes beyond shape, all in terms of `node` (a place in a
document) and `faults`. Nothing is imported here: the importer, which reads quantities, must not pay for pydantic.
"""
