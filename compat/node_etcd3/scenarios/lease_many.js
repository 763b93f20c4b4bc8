// fifty leases are kept alive at once
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const leases = Array.from({ length: 50 }, () => client.lease(3));
  await Promise.all(leases.map((lease, number) => lease.put(prefix + number).value("x").exec()));
  for (let round = 0; round < 4; round += 1) {
    await Promise.all(leases.map((lease) => next(lease, "keepaliveSucceeded")));
  }
  assert.equal(await client.getAll().prefix(prefix).count(), 50);
  await Promise.all(leases.map((lease) => lease.revoke()));
  assert.equal(await client.getAll().prefix(prefix).count(), 0);
});
