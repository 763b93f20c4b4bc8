// a lease that is not there is told in etcd's ways
"use strict";
const assert = require("node:assert/strict");
const { EtcdLeaseInvalidError } = require("etcd3");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  await assert.rejects(client.put(prefix).value("x").lease("4841").exec(), EtcdLeaseInvalidError);
  await assert.rejects(client.leaseClient.leaseRevoke({ ID: "4841" }), EtcdLeaseInvalidError);
  assert.equal((await client.leaseClient.leaseTimeToLive({ ID: "4841" })).TTL, "-1");
  await client.leaseClient.leaseGrant({ ID: "4842", TTL: 600 });
  await assert.rejects(client.leaseClient.leaseGrant({ ID: "4842", TTL: 600 }), /lease already exists/);
  await client.leaseClient.leaseRevoke({ ID: "4842" });
  await assert.rejects(client.leaseClient.leaseGrant({ TTL: 9_000_000_001 }), /too large lease TTL/);
  const lease = client.lease(600, { autoKeepAlive: false });
  await client.leaseClient.leaseRevoke({ ID: await lease.grant() });
  await assert.rejects(lease.keepaliveOnce(), EtcdLeaseInvalidError);
});
