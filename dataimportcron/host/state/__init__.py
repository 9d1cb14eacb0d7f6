"""Objects as files of the state folder, and of folders that are only read."""
