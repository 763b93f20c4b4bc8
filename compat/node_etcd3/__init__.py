"""node's etcd3, with grpc-js underneath: HTTP/2 by node itself. A scenario is a program."""
