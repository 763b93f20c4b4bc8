// a lease holds keys, tells its TTL, and takes its keys with it
"use strict";
const assert = require("node:assert/strict");
const { events, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const lease = client.lease(600, { autoKeepAlive: false });
  for (const name of ["b", "a"]) await lease.put(prefix + name).value(name);
  const ID = await lease.grant();
  const told = await client.leaseClient.leaseTimeToLive({ ID, keys: true });
  assert.equal(told.grantedTTL, "600");
  assert.ok(Number(told.TTL) >= 590 && Number(told.TTL) < 600);
  assert.deepEqual(told.keys.map(String).sort(), [`${prefix}a`, `${prefix}b`]);
  assert.equal((await client.get(`${prefix}a`).exec()).kvs[0].lease, ID);
  const { leases } = await client.leaseClient.leaseLeases({});
  assert.ok(leases.some((each) => each.ID === ID));
  const watcher = await client.watch().prefix(prefix).create();
  const seen = events(watcher, 2);
  await lease.revoke();
  assert.deepEqual((await seen).map((event) => [event.type, event.kv.key.toString()]), [
    ["Delete", `${prefix}a`],
    ["Delete", `${prefix}b`],
  ]);
  assert.equal((await client.leaseClient.leaseTimeToLive({ ID })).TTL, "-1");
  await watcher.cancel();
});
