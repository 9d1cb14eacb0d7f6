"""How facts of ours are written in objects of a cluster, and read from them. Pure."""
