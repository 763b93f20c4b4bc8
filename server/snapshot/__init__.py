"""Snapshots: a store as one bbolt file, out to any etcd and in from any etcd.

    pages ◄─ writer | reader ◄─ buckets ◄─ save | status | restore ◄─ cli

`pages` is the format, `writer` and `reader` build and walk trees of them; none of the three knows
etcd. `buckets` says what stands in etcd's buckets. A snapshot on its way out needs no disk, one on
its way in becomes a data directory whole or not at all.
"""
