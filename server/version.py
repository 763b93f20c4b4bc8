"""Which Tenure this is, and which etcd it answers as.

Clients compare these texts: kube-apiserver parses the etcd version to decide what it may ask
for, patroni splits it at the dots. So it is a released version of the line whose behaviour is
kept to, and it changes only together with that behaviour.
"""

from __future__ import annotations

from typing import Final

TENURE_VERSION: Final = "0.1.0"
ETCD_VERSION: Final = "3.6.14"  # The newest patch of the line, whose behaviour is the rule here.
CLUSTER_VERSION: Final = "3.6.0"  # What a cluster of such members agrees on: major and minor.
