// refusals have their text, and their code a class
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const refused = async (promise, text) => {
    const error = await promise.then(() => assert.fail("accepted"), (caught) => caught);
    assert.match(error.message, text);
  };
  await refused(client.put("").value("x").exec(), /INVALID_ARGUMENT: etcdserver: key is not provided/);
  await refused(
    client.get("a").revision(2 ** 40).exec(),
    /OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision/,
  );
  await refused(
    client.put(prefix).value(Buffer.alloc(1536 * 1024)).exec(),
    /INVALID_ARGUMENT: etcdserver: request is too large/,
  );
  await client.put(prefix).value(Buffer.alloc(1024 * 1024)).exec();
  assert.equal((await client.get(prefix).buffer()).length, 1024 * 1024);
  // The last, since the client takes it for a fault of the server's and turns away from it.
  await refused(
    client.put(prefix).value(Buffer.alloc(2048 * 1024)).exec(),
    /RESOURCE_EXHAUSTED: .*larger than max/,
  );
});
