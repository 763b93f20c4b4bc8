// a thousand puts at once share a connection
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const numbers = Array.from({ length: 1000 }, (_, number) => number);
  const puts = numbers.map((number) => client.put(prefix + number).value(number).exec());
  const revisions = new Set((await Promise.all(puts)).map((put) => put.header.revision));
  assert.equal(revisions.size, 1000);
  assert.equal(await client.getAll().prefix(prefix).count(), 1000);
});
