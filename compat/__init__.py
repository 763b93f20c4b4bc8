"""Unmodified etcd clients against Tenure and against etcd itself, with the same expectations.

Nothing here imports Tenure: a server is a process, and a client knows only its address. So a test
that passes on all targets states a fact about etcd that Tenure shares, and one that fails on
etcd is wrong.
"""
