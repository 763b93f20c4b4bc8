// transactions of software that conflict are run again
"use strict";
const assert = require("node:assert/strict");
const { scenario } = require("../scenario");

scenario(async ({ connect, prefix }) => {
  const key = `${prefix}counter`;
  const clients = [connect(), connect()];
  await clients[0].put(key).value(0);
  const add = (client) =>
    client.stm({ retries: 100 }).transact(async (tx) => tx.put(key).value((await tx.get(key).number()) + 1));
  const rounds = Array.from({ length: 10 }, () => clients.map(add)).flat();
  await Promise.all(rounds);
  assert.equal(await clients[0].get(key).number(), 20);
});
