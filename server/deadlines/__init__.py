"""Leases' remaining time, kept beside the store: `layout` of the file, the `table` that a server
writes while it runs, and what `previous` left behind."""
