"""Wiring: the command line, the composition root, and the binding between objects and executions. No policy."""
