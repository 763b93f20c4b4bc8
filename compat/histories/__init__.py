"""Recorded concurrent histories, and a checker that says whether etcd's promises were kept in them.

Clients, watchers and faults make a history (`clients`, `watchers`, `faults`, `episode`); what was
recorded (`record`) is plain data, and what judges it (`checking` and the modules that it calls) is
pure: no server, no clock. `seeded` is Tenure with a bug in it, to see that the bug is found.
"""
