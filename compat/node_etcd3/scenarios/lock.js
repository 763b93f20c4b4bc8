// a lock is held by one, and free when released or its lease has ended
"use strict";
const assert = require("node:assert/strict");
const { EtcdLockFailedError } = require("etcd3");
const { next, scenario } = require("../scenario");

scenario(async ({ client, connect, prefix }) => {
  const other = connect();
  const lock = await client.lock(prefix).ttl(2).acquire();
  await assert.rejects(other.lock(prefix).ttl(600).acquire(), EtcdLockFailedError);
  await lock.release();
  assert.equal(await other.lock(prefix).do(async () => "mine"), "mine");
  assert.equal(await client.get(prefix).exists(), false);
});
