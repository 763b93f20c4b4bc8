"""Patroni's side of etcd v3: its leader lock, members and cached view, over the JSON gateway.

No PostgreSQL is run: what two nodes of a cluster ask of the store is asked here directly.
"""
