"""etcdctl, in two of its versions: what people type, and Go's `clientv3` underneath."""
