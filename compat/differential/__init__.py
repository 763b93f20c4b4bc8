"""The same random operations to Tenure and to etcd 3.5.1, and every answer compared.

`operations` says what is sent, `generator` makes it up from a seed, `sides` sends it, `comparing`
says what of the answers must be the same, `known` which differences are meant, `episode` is one run
over two new servers, `shrinking` makes what was found short. `python -m compat.differential` runs.
"""
