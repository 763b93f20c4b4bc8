// what is compacted cannot be read, nor compacted again
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  await client.put(prefix).value("1");
  const { revision } = (await client.put(prefix).value("2").exec()).header;
  await client.kv.compact({ revision, physical: true });
  assert.equal(await client.get(prefix).revision(revision).string(), "2");
  const compacted = /etcdserver: mvcc: required revision has been compacted/;
  await assert.rejects(client.get(prefix).revision(Number(revision) - 1).exec(), compacted);
  await assert.rejects(client.kv.compact({ revision }), compacted);
});
