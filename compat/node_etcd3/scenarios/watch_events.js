// a watch sees puts and deletes with what was there before
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const watcher = await client.watch().key(`${prefix}key`).withPreviousKV().create();
  const put = next(watcher, "put");
  await client.put(`${prefix}key`).value("1");
  const [kv] = await put;
  assert.deepEqual([kv.value.toString(), kv.version], ["1", "1"]);
  await client.put(`${prefix}key-other`).value("x");
  const deleted = next(watcher, "delete");
  await client.delete().key(`${prefix}key`);
  const [gone, previous] = await deleted;
  assert.equal(previous.value.toString(), "1");
  assert.equal(Number(gone.mod_revision), Number(kv.mod_revision) + 2);
  await watcher.cancel();
});
