"""What the importer refuses: one table, given to the real program, one process for each input.

`python -m tests.importer.hostile` prints the list, one line each; a test checks the same.
"""
