// What client.js asks of the guard, and hears of the page around it.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { HINT, begin, made, pass, sockets, steady, turn } from "./played.mjs";

beforeEach(begin);

const answer = (status, body, headers = {}) => new Response(JSON.stringify(body), { status, headers });

test("a handshake token is fetched for each connection, and shown beside what is offered", async () => {
  const asked = [];
  const answers = [answer(200, { token: "t1" }), answer(429, { reason: "handshake-rate" }, { "Retry-After": "6" }), answer(403, {})];
  const fetch = async (url, init) => (asked.push([String(url), init]), answers.shift());
  const { seen } = made({ handshakeToken: true, fetch }, "chat");
  await turn();
  assert.deepEqual(sockets[0].protocols, ["chat", "wsguard.token.t1"]);
  assert.equal(asked[0][0], "http://app.test/.wsguard/handshake-token?path=%2Fws");
  assert.deepEqual(JSON.parse(asked[0][1].body), { protocols: ["chat"], query: "a=b" });
  sockets[0].ends(1012, "draining retry-after=2");
  pass(2000);
  await turn();
  assert.equal(seen.at(-1), "away 4429 back off 10000");
  pass(10000);
  await turn();
  assert.equal(seen.at(-1), "close 4403");
});

test("protocols may be asked for anew; their failure is a lost attempt", async () => {
  let n = 0;
  const { seen } = made({ firstDelay: 1000 }, async () => {
    if (n++) throw new TypeError("no network");
    return ["bearer.1"];
  });
  await turn();
  assert.deepEqual(sockets[0].protocols, ["bearer.1"]);
  sockets[0].ends(4503);
  pass(1000);
  await turn();
  assert.equal(seen.at(-1), "away 1006 back off 2000");
});

test("renewal: asked when open, again before the token ends, and when the guard says so", async () => {
  const asked = [];
  let refreshed = 0;
  const fetch = async (url) => (asked.push(String(url)), answer(200, { connections: 1, tokenLifetimeSeconds: 100 }));
  const { seen } = made({ renew: async () => refreshed++, fetch });
  await steady();
  await turn();
  assert.deepEqual([asked, refreshed], [["http://app.test/.wsguard/renew?path=%2Fws"], 0]);
  pass(69000);
  await turn();
  assert.equal(asked.length, 1);
  pass(21000);
  await turn();
  assert.deepEqual([asked.length, refreshed], [2, 1]);
  sockets[0].says('{"type":"session-expiring"}');
  await turn();
  assert.deepEqual([asked.length, refreshed], [3, 2]);
  assert.deepEqual(seen, ["open"]);
});

for (const [status, more] of [[401, 0], [404, 0], [503, 1]])
  test(`a renewal that is answered ${status}`, async () => {
    let asked = 0;
    made({ renew: true, fetch: async () => (asked++, answer(status, {})) });
    await steady();
    await turn();
    pass(30000);
    await turn();
    assert.equal(asked, 1 + more);
  });

test("binaryType, protocol and extensions are those of the sockets; a token is no protocol", () => {
  const { socket } = made();
  socket.binaryType = "arraybuffer";
  Object.assign(sockets[0], { protocol: "wsguard.token.secret", extensions: "permessage-deflate" });
  assert.equal(sockets[0].binaryType, "arraybuffer");
  assert.deepEqual([socket.protocol, socket.extensions], ["", ""]);
  steady();
  assert.deepEqual([socket.protocol, socket.extensions], ["", "permessage-deflate"]);
  assert.equal(socket.url, "ws://app.test/ws?a=b");
});

test("the application may read codes of its own", () => {
  const { seen } = made({ advise: ({ code }) => (code === 4999 ? "back off" : undefined), firstDelay: 1000 });
  sockets[0].ends(4999);
  assert.equal(seen.at(-1), "away 4999 back off 1000");
});

test("a hint of a connection that was replaced is nothing", () => {
  made();
  steady();
  sockets[0].says(HINT);
  steady();
  pass(6000);
  sockets[0].says(HINT);
  assert.equal(sockets.length, 2);
  sockets[0].ends(1012, "migrating");
  pass(60000);
  assert.equal(sockets[0].closes, undefined);
});

test("a connection that was lost does not become steady later", () => {
  const { seen } = made({ firstDelay: 4000 });
  sockets[0].opens();
  pass(3000);
  sockets[0].ends();
  pass(4000);
  sockets[1].ends();
  assert.equal(seen.at(-1), "away 1006 back off 8000");
});

test("a successor's token that comes after the end is nothing", async () => {
  const waiting = [];
  const token = { ok: true, json: () => ({ token: "t" }) };
  const { seen } = made({ handshakeToken: true, fetch: () => new Promise((done, fail) => waiting.push([done, fail])) });
  await turn();
  waiting.shift()[0](token);
  await turn();
  steady();
  sockets[0].says(HINT);
  await turn();
  sockets[0].ends(4410, "terminated");
  waiting.shift()[1](new TypeError("no network"));
  await turn();
  pass(1e6);
  await turn();
  assert.deepEqual([sockets.length, waiting.length], [1, 0]);
  assert.deepEqual(seen, ["open", "close 4410"]);
});

for (const outcome of ["resolve", "reject"])
  test(`a token's fetch that comes to ${outcome} after close() is nothing`, async () => {
    let settle;
    const fetch = () => new Promise((resolve, reject) => (settle = { resolve, reject }));
    const { socket, seen } = made({ handshakeToken: true, fetch });
    await turn();
    socket.close();
    settle[outcome]({ ok: true, json: () => ({ token: "t" }) });
    await turn();
    pass(1e6);
    await turn();
    assert.deepEqual([sockets.length, seen], [0, ["error", "close 1006"]]);
  });

const inPage = (act) => () => {
  const page = new EventTarget();
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  globalThis.addEventListener = page.addEventListener.bind(page);
  const shown = (state) => {
    document.visibilityState = state;
    document.dispatchEvent(new Event("visibilitychange"));
  };
  try {
    act({ online: () => page.dispatchEvent(new Event("online")), shown });
  } finally {
    delete globalThis.document;
    delete globalThis.addEventListener;
  }
};

test("network and eyes hurry a wait of its own, and not one that was asked for", inPage(({ online, shown }) => {
  made();
  sockets[0].ends();
  online();
  assert.equal(sockets.length, 2);
  sockets[1].ends();
  shown("hidden");
  assert.equal(sockets.length, 2);
  shown("visible");
  assert.equal(sockets.length, 3);
  sockets[2].ends(1012, "draining retry-after=90");
  online();
  shown("visible");
  assert.equal(sockets.length, 3);
  pass(90000);
  assert.equal(sockets.length, 4);
}));

test("after the end it hears neither", inPage(({ online, shown }) => {
  const { socket } = made();
  steady();
  online();
  assert.equal(sockets.length, 2);
  socket.close();
  sockets[0].ends(1005);
  online();
  shown("visible");
  assert.equal(sockets.length, 2);
}));

test("a hidden page that was idle waits to be shown or to have something to send", inPage(({ shown }) => {
  const { socket, seen } = made({ firstDelay: 1000 });
  shown("hidden");
  for (const [act, delay] of [[() => shown("visible"), "Infinity"], [() => socket.send("x"), "Infinity"]]) {
    shown("hidden");
    const before = sockets.length;
    steady();
    sockets.at(-1).ends(4408, "idle-timeout");
    assert.equal(seen.at(-1), `away 4408 reconnect when needed ${delay}`);
    pass(1e6);
    assert.equal(sockets.length, before);
    act();
    assert.equal(sockets.length, before + 1);
  }
  shown("hidden");
  steady();
  sockets.at(-1).readyState = 2;
  socket.send("y");
  sockets.at(-1).ends(4408, "idle-timeout");
  assert.equal(seen.at(-1), "away 4408 reconnect when needed 60000");
}));

test("keys are remembered up to a bound", () => {
  const { seen } = made({ id: Number });
  sockets[0].opens();
  for (let n = 0; n <= 1000; n++) sockets[0].says(String(n));
  sockets[0].says("1");
  sockets[0].says("0");
  assert.equal(seen.length, 1 + 1001 + 1);
});
