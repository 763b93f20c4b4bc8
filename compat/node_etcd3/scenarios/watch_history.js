// a watch of the past goes on into the present
"use strict";
const assert = require("node:assert/strict");
const { events, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const { revision } = (await client.put(prefix).value("0").exec()).header;
  for (let number = 1; number < 300; number += 1) await client.put(prefix + number).value(number);
  const builder = client.watch().prefix(prefix).startRevision(String(Number(revision) + 1));
  const watcher = builder.watcher();
  const seen = events(watcher, 300);
  await client.put(prefix).value("300");
  const values = (await seen).map((event) => Number(event.kv.value));
  assert.deepEqual(values, Array.from({ length: 300 }, (_, number) => number + 1));
  await watcher.cancel();
});
