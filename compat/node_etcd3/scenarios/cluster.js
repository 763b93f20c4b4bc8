// the only member leads, and has one name everywhere
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ client, prefix }) => {
  const { header } = await client.put(prefix).value("x").exec();
  const { members } = await client.cluster.memberList({});
  assert.equal(members.length, 1);
  assert.deepEqual(members[0].clientURLs, [process.env.COMPAT_URL]);
  const status = await client.maintenance.status();
  assert.equal(status.leader, members[0].ID);
  assert.equal(status.header.member_id, header.member_id);
  assert.equal(status.header.cluster_id, header.cluster_id);
  assert.match(status.version, /^\d+\.\d+\.\d+$/);
  assert.ok((await client.maintenance.hash()).hash > 0);
});
