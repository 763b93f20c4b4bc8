// what was put is got, as text, bytes, number and JSON
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const key = `${prefix}ключ`;
  assert.equal(await client.get(key), null);
  assert.equal(await client.get(key).exists(), false);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const first = await client.put(key).value(bytes).exec();
  assert.deepEqual(await client.get(key).buffer(), bytes);
  const previous = await client.put(key).value(42).getPrevious();
  assert.deepEqual(previous.value, bytes);
  assert.equal(await client.get(key).number(), 42);
  await client.put(key).value(JSON.stringify({ a: ["ü"] }));
  assert.deepEqual(await client.get(key).json(), { a: ["ü"] });
  await client.put(key).touch();
  const [kv] = (await client.get(key).exec()).kvs;
  assert.equal(kv.create_revision, first.header.revision);
  assert.equal(Number(kv.mod_revision), Number(first.header.revision) + 3);
  assert.equal(kv.version, "4");
  assert.deepEqual(await client.get(key).revision(first.header.revision).buffer(), bytes);
});
