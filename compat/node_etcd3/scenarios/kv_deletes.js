// deletes tell what was there, and take one revision
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  for (const name of ["a", "b", "c"]) await client.put(prefix + name).value(name);
  const { header, deleted } = await client.delete().key(`${prefix}a`).exec();
  assert.equal(deleted, "1");
  const previous = await client.delete().prefix(prefix).getPrevious();
  assert.deepEqual(previous.map((kv) => kv.value.toString()), ["b", "c"]);
  const nothing = await client.delete().prefix(prefix).exec();
  assert.equal(nothing.deleted, "0");
  assert.equal(Number(nothing.header.revision), Number(header.revision) + 1);
});
