// the keepalives of a client keep a lease, and without them it ends
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const lease = client.lease(2);
  lease.on("lost", (error) => assert.fail(error));
  await lease.put(`${prefix}kept`).value("x");
  // One every third of the TTL: ten are three times the TTL.
  for (let count = 0; count < 10; count += 1) {
    const [answer] = await next(lease, "keepaliveSucceeded");
    assert.equal(answer.TTL, "2");
  }
  assert.equal(await client.get(`${prefix}kept`).string(), "x");
  const watcher = await client.watch().key(`${prefix}kept`).create();
  const deleted = next(watcher, "delete");
  const start = process.hrtime.bigint();
  lease.release();
  await deleted;
  // The last renewal may have been a third of the TTL ago.
  assert.ok(Number(process.hrtime.bigint() - start) / 1e9 > 1.2);
  await watcher.cancel();
});
