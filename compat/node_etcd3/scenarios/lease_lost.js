// a lease that another has revoked is lost to the client that keeps it
"use strict";
const assert = require("node:assert/strict");
const { EtcdLeaseInvalidError } = require("etcd3");
const { next, scenario } = require("../scenario");

scenario(async ({ client, connect }) => {
  const lease = client.lease(2);
  const ID = await lease.grant();
  await next(lease, "keepaliveSucceeded");
  const lost = next(lease, "lost");
  await connect().leaseClient.leaseRevoke({ ID });
  const [error] = await lost;
  assert.ok(error instanceof EtcdLeaseInvalidError);
  assert.equal(lease.revoked(), true);
});
