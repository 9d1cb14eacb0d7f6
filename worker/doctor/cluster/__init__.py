"""The checks of the home in a cluster, by what they look at; `checks` runs them all.

They ask with the rights of whoever runs the command. What those do not allow is said and left out.
"""
