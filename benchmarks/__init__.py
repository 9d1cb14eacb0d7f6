"""Figures as ratios against a peer in the same run: `make bench`, or one by `python -m benchmarks imports|polls`.

    imports     an import, against what people do by hand, the strongest pipe, and the sum of its unavoidable parts
    polls       digest lookups, against a bare keep-alive connection that sends the same HEAD requests

`images` makes what is imported, `peers` has the other ways as shell scripts, `measure` runs a command and says what it
cost. A bar that is missed is printed as such and fails nothing: the table is for people.
"""
