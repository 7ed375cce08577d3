"""Video files: probed, decoded and cut in a child process with limits."""
