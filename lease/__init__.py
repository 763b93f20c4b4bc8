"""Leases: who holds which, until when, and which keys go with it. See README.md."""
