// an election has one leader, and the next when it resigns
"use strict";
const assert = require("node:assert/strict");
const { next, scenario } = require("../scenario");

scenario(async ({ connect, prefix }) => {
  const [one, other] = [connect(), connect()].map((client) => client.election(prefix, 60));
  const first = one.campaign("first");
  await next(first, "elected");
  assert.equal(await other.leader(), "first");
  const observer = await other.observe();
  assert.equal(observer.leader(), "first");
  const second = other.campaign("second");
  const campaigning = await second.getCampaignKey();
  assert.ok(campaigning.startsWith(`election/${prefix}/`) || campaigning.length > 0);
  await first.proclaim("still first");
  while (observer.leader() !== "still first") await next(observer, "change");
  const elected = next(second, "elected");
  await first.resign();
  await elected;
  while (observer.leader() !== "second") await next(observer, "change");
  await second.resign();
  await observer.cancel();
});
