"""etcd3gw, OpenStack's client of the JSON gateway, over HTTP/1.1."""
