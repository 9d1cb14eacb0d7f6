"""The way to the API server: plain dicts, and errors of our own."""
