"""Measures Tenure beside real etcd on one machine, in one run, by one method.

What is always true of a figure printed here:
  1. Both servers were driven by the same client with the same bytes, in turn, with etcd's and our
     defaults, on the same file system. Neither was told to skip an fsync.
  2. The replies were checked: a server that refuses or forgets fast is an error, not a fast server.
  3. A figure is a median with the smallest and largest of its rounds beside it.
"""
