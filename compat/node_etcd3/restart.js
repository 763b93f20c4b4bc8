// a watch and a lease go on after the server was restarted
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("./scenario");

scenario(async ({ client, prefix }) => {
  const watcher = await client.watch().key(prefix).create();
  const lease = client.lease(10);
  let put = next(watcher, "put");
  await lease.put(prefix).value("before");
  await put;
  const [gone, back] = [next(watcher, "disconnected"), next(watcher, "connected")];
  console.log("restart");
  await gone;
  await back;
  put = next(watcher, "put");
  await client.put(prefix).value("after").ignoreLease();
  const [kv] = await put;
  assert.deepEqual([kv.value.toString(), kv.version], ["after", "2"]);
  await next(lease, "keepaliveSucceeded");
  assert.equal(kv.lease, await lease.grant());
  await lease.revoke();
  assert.equal(await client.get(prefix).exists(), false);
});
