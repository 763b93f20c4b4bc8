// ranges have limits, orders and filters
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const revisions = [];
  for (const name of ["b", "c", "a"]) {
    revisions.push((await client.put(prefix + name).value(name).exec()).header.revision);
  }
  const all = () => client.getAll().prefix(prefix);
  assert.deepEqual(await all().strings(), { [`${prefix}a`]: "a", [`${prefix}b`]: "b", [`${prefix}c`]: "c" });
  assert.equal(await all().count(), 3);
  assert.deepEqual(await all().keys(), ["a", "b", "c"].map((name) => prefix + name));
  assert.deepEqual(await all().sort("Mod", "Descend").keys(), ["a", "c", "b"].map((name) => prefix + name));
  const limited = await all().limit(2).exec();
  assert.deepEqual([limited.more, limited.count, limited.kvs.length], [true, "3", 2]);
  assert.deepEqual(await all().minModRevision(revisions[1]).keys(), ["a", "c"].map((name) => prefix + name));
  const range = { start: `${prefix}a`, end: `${prefix}c` };
  assert.deepEqual(await client.getAll().inRange(range).keys(), ["a", "b"].map((name) => prefix + name));
});
