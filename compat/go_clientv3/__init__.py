"""etcd's own Go client, of a newer line than etcdctl: sessions, mutexes, elections, mirrors."""
