"""The kinds of the API, as CDI's `v1beta1` has them.

`meta` and `types*` are the models, `conditions` the words of their statuses, `quantity` Kubernetes' sizes,
`validation` what is refused and why, `documents` the YAML itself. Nothing is imported here: the importer, which
shares `quantity`'s neighbours, must not pay for pydantic.
"""
