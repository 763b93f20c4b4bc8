"""The etcd v3 server: settings, the one writer, services, transports and the command line."""
