"""What pytest is told about this folder."""

collect_ignore_glob = ["strict_cupy*.py"]  # helpers, which need CuPy to be imported
