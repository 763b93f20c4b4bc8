// kinds of events can be left out
"use strict";
const assert = require("node:assert/strict");
const { events, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const puts = await client.watch().key(prefix).only("put").create();
  const deletes = await client.watch().key(prefix).only("delete").create();
  const seen = [events(puts, 2), events(deletes, 2)];
  for (const value of ["1", "2"]) {
    await client.put(prefix).value(value);
    await client.delete().key(prefix);
  }
  const [put, deleted] = await Promise.all(seen);
  assert.deepEqual(put.map((event) => event.kv.value.toString()), ["1", "2"]);
  assert.deepEqual(deleted.map((event) => event.type), ["Delete", "Delete"]);
  await Promise.all([puts.cancel(), deletes.cancel()]);
});
