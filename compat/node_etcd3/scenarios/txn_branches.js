// the compares decide between the branches
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const [a, b] = [`${prefix}a`, `${prefix}b`];
  const { revision } = (await client.put(a).value("1").exec()).header;
  for (const [column, compare, value, holds] of [
    ["Value", "==", "1", true],
    ["Value", "!=", "1", false],
    ["Version", ">", 0, true],
    ["Create", "<", revision, false],
    ["Mod", "==", revision, true],
  ]) {
    const response = await client
      .if(a, column, compare, value)
      .then(client.put(b).value("yes"), client.get(b))
      .else(client.delete().key(b), client.get(a))
      .commit();
    assert.equal(response.succeeded, holds);
    assert.equal(response.responses[1].response_range.kvs[0].value.toString(), holds ? "yes" : "1");
    assert.equal(await client.get(b).exists(), holds);
  }
  const twice = client.if(a, "Version", ">", 0).then(client.put(b).value("1"), client.put(b).value("2"));
  await assert.rejects(twice.commit(), /etcdserver: duplicate key given in txn request/);
});
