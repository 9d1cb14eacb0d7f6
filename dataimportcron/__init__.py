"""Everything that does not need Temporal.

Read in this order:

1. `errors`      what can go wrong, drawn as a tree
2. `api`         the kinds: DataImportCron, DataSource, DataVolume; conditions, quantities, validation
3. `messages`    what workflows and activities say to each other
4. `naming`      names, labels, annotations, identifiers
5. `ports`       what the engine needs from a home
6. `manifests`   the objects that we make
7. `projection`  statuses that follow from facts
8. `schedule`    cron expressions
9. `polling`     when the registry is asked
10. `planning`   the decisions
11. `memory`     what a cron remembers
12. `oci`        registries
13. `importer`   the data plane, a program of its own
14. `host`       the home on one host
"""
