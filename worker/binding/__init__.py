"""Objects on one side, executions on the other: what is there on the first is running on the second.

`feed` says what changed, `bind` acts on it. Level-triggered: a change that nobody saw is found by the comparison at
start and every five minutes.
"""
