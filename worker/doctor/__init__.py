"""What may be wrong with an installation, found by small checks, each with its cure.

`finding` is what a check says. `machine`, `folders`, `objects` and `engine` are the checks of the home on one host, by
what they look at, and `cluster` has those of a cluster. A check changes nothing, and one that cannot look says that.
"""
