"""What Prometheus reads: the numbers of all parts, under etcd's names.

The parts count in plain integers and know nothing of this package; it reads them at the moment
of a scrape. Only what no number can tell afterwards, how long each fsync took and how late each
lease went, is told as it happens to the histograms of `observed`.
"""
