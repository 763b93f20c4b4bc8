"""The messages and services of etcd v3, as protobuf.

The modules are generated from the `.proto` files beside them by `tools/gen_proto.py` and never
edited by hand. Package, service, message and field names and numbers are etcd's; README.md names
the versions. There are no generated stubs: method tables come from the service descriptors
(`rpc_pb2.DESCRIPTOR.services_by_name`).
"""
