"""Figures as ratios against a peer in the same run: `make bench`, or one by `python -m benchmarks NAME`.

    imports     an import, against what people do by hand, the strongest pipe, and the sum of its unavoidable parts
    polls       digest lookups, against a bare keep-alive connection that sends the same HEAD requests
    cli_start   commands that need no Temporal, against `python -c pass`
    quiet       history, CPU and memory of a quiet poll, against a bare workflow: a timer and an empty activity
    slow        polls beside a registry that answers in half a minute, against polls without it
    idle        the whole home at rest, against a bare server and a bare worker
    year        history and memory over a year of skipped time, its last quarter against its first
    growth      one to a thousand crons at one tick, against bare workflows; the worker killed and started again
    cluster     on a real Kubernetes: an import against a bare pod with a claim, a tick of a hundred crons, and rest

`images` makes what is imported, `peers` has the other ways as shell scripts, `bare` the workflow and `engine` the
workers' processes; `cluster_site` has the product on a cluster, `cluster_imports` and `cluster_crons` what is done
there; `measure` runs a command and says what it cost. A bar that is missed is printed as such and fails nothing: the
table is for people.
"""
