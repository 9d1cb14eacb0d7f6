"""The adapters of a Kubernetes cluster: objects, volumes, imports by Jobs.

Read `connection` first: the one way to the API server, with plain dicts and our own errors. Nothing else imports the
`kubernetes` package, which takes a second to import; so nothing outside this package may import it at module level.
"""
