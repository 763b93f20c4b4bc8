// a namespace sees its own keys without their prefix
"use strict";
const assert = require("node:assert/strict");
const { events, next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const inner = client.namespace(prefix);
  const watcher = await inner.watch().prefix("").create();
  const seen = events(watcher, 2);
  await inner.put("a").value("1");
  assert.equal(await client.get(`${prefix}a`).string(), "1");
  assert.deepEqual(await inner.getAll().keys(), ["a"]);
  await inner.delete().all();
  assert.deepEqual((await seen).map((event) => event.kv.key.toString()), ["a", "a"]);
  await watcher.cancel();
});
