// many watches share a stream, each with its own events, and end one by one
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const names = Array.from({ length: 40 }, (_, number) => prefix + number);
  const watchers = await Promise.all(names.map((name) => client.watch().key(name).create()));
  assert.equal(new Set(watchers.map((watcher) => watcher.id)).size, 40);
  const seen = watchers.map((watcher) => next(watcher, "put"));
  await Promise.all(names.map((name) => client.put(name).value(name).exec()));
  const keys = (await Promise.all(seen)).map(([kv]) => kv.key.toString());
  assert.deepEqual(keys, names);
  const last = watchers.pop();
  await Promise.all(watchers.map((watcher) => watcher.cancel()));
  const after = next(last, "put");
  await client.put(names[39]).value("again");
  assert.equal((await after)[0].value.toString(), "again");
  await last.cancel();
});
