"""The `lehr` command: against AWS or the local cloud, by endpoint configuration alone."""
