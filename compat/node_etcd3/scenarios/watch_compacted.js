// a watch of a compacted revision is an error, and the stream goes on
"use strict";
const assert = require("node:assert/strict");
const { events, next, scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const going = await client.watch().key(prefix).create();
  const { revision } = (await client.put(prefix).value("1").exec()).header;
  await client.put(prefix).value("2");
  await client.kv.compact({ revision: String(Number(revision) + 1) });
  const watcher = client.watch().key(prefix).startRevision(revision).watcher();
  const [error] = await next(watcher, "error");
  assert.match(error.message, /^Watcher canceled/); // The reason need not be told.
  const put = next(going, "put");
  await client.put(prefix).value("3");
  assert.equal((await put)[0].value.toString(), "3");
  await going.cancel();
});
