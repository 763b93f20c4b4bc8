"use strict";
// What every scenario starts from: clients connected as the environment says, keys of its own, and
// an end that is a success only if nothing was thrown. Nothing here sleeps: it waits for events.

const fs = require("node:fs");
const { Etcd3 } = require("etcd3");

const EVENT_MAX_MS = 15_000;

function options() {
  const { COMPAT_URL: hosts, COMPAT_CA: ca, COMPAT_CERT: cert, COMPAT_KEY: key } = process.env;
  if (!ca) return { hosts };
  const [rootCertificate, certChain, privateKey] = [ca, cert, key].map((path) => fs.readFileSync(path));
  return { hosts, credentials: { rootCertificate, certChain, privateKey } };
}

/** The arguments of the next event of that name. */
function next(emitter, name, withinMs = EVENT_MAX_MS) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${name} within ${withinMs} ms`)), withinMs);
    emitter.once(name, (...values) => {
      clearTimeout(late);
      resolve(values);
    });
  });
}

/** The next `count` events of a watcher, whatever they are. */
function events(watcher, count) {
  return new Promise((resolve, reject) => {
    const seen = [];
    const late = setTimeout(() => reject(new Error(`only ${seen.length} of ${count} events`)), EVENT_MAX_MS);
    const take = (response) => {
      seen.push(...response.events);
      if (seen.length < count) return;
      clearTimeout(late);
      watcher.removeListener("data", take);
      resolve(seen);
    };
    watcher.on("data", take);
  });
}

/** Run a scenario; the process ends with it. */
function scenario(run) {
  const clients = [];
  const connect = () => {
    const client = new Etcd3(options());
    clients.push(client);
    return client;
  };
  run({ client: connect(), connect, prefix: process.env.COMPAT_PREFIX })
    .then(() => clients.forEach((client) => client.close()))
    .then(() => process.exit(0))
    .catch((error) => {
      console.error(error);
      process.exit(1);
    });
}

module.exports = { events, next, scenario };
