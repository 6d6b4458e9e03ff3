// client.js over sockets that the test plays, in a time that the test turns.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import GuardedWebSocket from "../../wsguard/client/client.js";

let sockets;
class Played {
  readyState = 0;
  bufferedAmount = 0;
  protocol = "";
  extensions = "";
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }
  send(data) {
    this.sent.push(data);
  }
  close(code, reason) {
    this.closes = (this.closes ?? 0) + 1;
    if (this.readyState < 2) Object.assign(this, { readyState: 2, closed: [code, reason] });
  }
  opens() {
    this.readyState = 1;
    this.onopen();
  }
  says(data) {
    this.onmessage({ data });
  }
  ends(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason, wasClean: code !== 1006 });
  }
}

const made = (options = {}, protocols = []) => {
  const socket = new GuardedWebSocket("ws://app.test/ws?a=b", protocols, { WebSocket: Played, random: () => 1, ...options });
  const seen = [];
  for (const type of ["open", "message", "error", "close", "away"])
    socket.addEventListener(type, (event) => seen.push(event.data ?? [type, event.code, event.advice, event.delay].filter((x) => x !== undefined).join(" ")));
  return { socket, seen };
};
const steady = async (socket = sockets.at(-1)) => {
  socket.opens();
  pass(6000);
};
const pass = (ms) => {
  // In steps: a timer that a timer has set is due from then on.
  for (let left = ms, step; left >= 0; left -= step || 1) mock.timers.tick((step = Math.min(left, left > 30000 ? left - 30000 : 100)));
};
const turn = () => new Promise((done) => setImmediate(done)); // promises run
const HINT = '{"type":"reconnect"}';

beforeEach(() => {
  sockets = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("an open that a refusal follows counts for nothing: the waits grow", () => {
  const { socket, seen } = made({ firstDelay: 1000, maxDelay: 9000 });
  for (const wait of [1000, 2000, 4000, 8000, 9000, 9000]) {
    const before = sockets.length;
    sockets.at(-1).opens();
    sockets.at(-1).readyState = 2; // its Close has come
    pass(500);
    sockets.at(-1).ends(4502, "bad-gateway");
    pass(wait - 1);
    assert.equal(sockets.length, before);
    pass(1);
    assert.equal(sockets.length, before + 1);
  }
  assert.ok(!seen.includes("open"));
  assert.equal(socket.readyState, 0);
});

test("a connection that lasts begins the back-off anew; one that does not, does not", () => {
  const { seen } = made({ firstDelay: 1000 });
  sockets[0].ends();
  pass(1000);
  sockets[1].opens();
  pass(300);
  sockets[1].ends();
  assert.equal(seen.at(-1), "away 1006 back off 2000");
  pass(2000);
  steady();
  sockets[2].ends();
  assert.equal(seen.at(-1), "away 1006 back off 1000");
});

test("a message makes it open at once", () => {
  const { seen } = made();
  sockets[0].opens();
  sockets[0].says("welcome");
  assert.deepEqual(seen, ["open", "welcome"]);
});

for (const [code, reason] of [[4403, "origin-denied"], [4404, "no-policy"], [1009, "message-too-big"], [4401, "credential-missing"], [1000, ""]])
  test(`${code} is the end`, () => {
    const { socket, seen } = made();
    sockets[0].opens();
    sockets[0].ends(code, reason);
    pass(1e9);
    assert.equal(sockets.length, 1);
    assert.equal(seen.at(-1), `close ${code}`);
    assert.equal(socket.readyState, 3);
  });

test("what is sent while away waits, after what the handlers of open send, and is bounded", () => {
  const { socket } = made({ maxQueue: 10 });
  const buffer = new Uint8Array([1, 2, 3]);
  socket.send("ä2"); // three bytes
  socket.send(buffer);
  buffer[0] = 9;
  socket.send("1234");
  assert.throws(() => socket.send("5"), { name: "QuotaExceededError" });
  assert.throws(() => socket.send(""), { name: "QuotaExceededError" });
  assert.equal(socket.bufferedAmount, 10);
  socket.onopen = () => socket.send("hello");
  sockets[0].opens();
  assert.equal(sockets[0].sent.length, 0);
  pass(200);
  assert.deepEqual(sockets[0].sent, ["hello", "ä2", new Uint8Array([1, 2, 3]), "1234"]);
  assert.equal(socket.bufferedAmount, 0);
});

test("what a closing socket does not take waits for the next", () => {
  const { socket } = made();
  steady();
  sockets[0].readyState = 2;
  socket.send("later");
  assert.deepEqual(sockets[0].sent, []);
  sockets[0].ends(1012, "draining retry-after=1");
  pass(1000);
  sockets[1].opens();
  pass(200);
  assert.deepEqual(sockets[1].sent, ["later"]);
});

test("make before break: sends move when the new one is good, the old one is heard until it closes", () => {
  const { socket, seen } = made({ id: (data) => data });
  steady();
  sockets[0].says(HINT);
  sockets[0].says(HINT);
  assert.equal(sockets.length, 2);
  socket.send("a");
  sockets[1].opens();
  socket.send("b");
  pass(200);
  socket.send("c");
  sockets[0].says("1");
  sockets[1].says("1");
  sockets[1].says("2");
  sockets[0].says("2");
  sockets[0].says("3");
  assert.equal(socket.readyState, 1);
  sockets[0].ends(1012, "migrating retry-after=1");
  pass(1e6);
  assert.deepEqual([sockets[0].sent, sockets[1].sent], [["a", "b"], ["c"]]);
  assert.deepEqual(seen, ["open", "open", "1", "2", "3"]);
  assert.equal(sockets.length, 2);
  assert.equal(sockets[0].closed, undefined);
});

test("an old connection that nobody closes is closed in the end", () => {
  made({ overlap: 30000 });
  steady();
  sockets[0].says(HINT);
  steady();
  pass(30000);
  assert.deepEqual(sockets[0].closed, [undefined, undefined]);
});

test("a refused successor leaves the live one alone, and is tried again", () => {
  const { socket, seen } = made({ firstDelay: 1000 });
  steady();
  sockets[0].says(HINT);
  sockets[1].ends(4502, "bad-gateway retry-after=7");
  assert.equal(socket.readyState, 1);
  pass(7000);
  assert.equal(sockets.length, 3);
  sockets[2].ends(4403, "not-authorized");
  pass(1e9);
  assert.equal(sockets.length, 3);
  assert.deepEqual(seen, ["open"]);
  sockets[0].ends(4440, "session-expired");
  assert.equal(seen.at(-1), "close 4440");
});

test("the old one ends before its successor is good: away, and no further attempt", () => {
  const { seen } = made();
  steady();
  sockets[0].says(HINT);
  sockets[0].ends(1012, "draining retry-after=4");
  assert.equal(seen.at(-1), "away 1012 reconnect after retry-after");
  pass(9000);
  assert.equal(sockets.length, 2);
  steady();
  assert.equal(seen.at(-1), "open");
});

test("who is sent away for good does not come back by the successor", () => {
  const { seen } = made();
  steady();
  sockets[0].says(HINT);
  sockets[0].ends(4410, "terminated");
  assert.deepEqual(sockets[1].closed, [undefined, undefined]);
  sockets[1].ends();
  pass(1e9);
  assert.equal(sockets.length, 2);
  assert.equal(seen.at(-1), "close 4410");
});

test("hints at every connection make no storm", () => {
  made({ firstDelay: 1000, maxDelay: 1e6 });
  for (let second = 0; second < 60; second++) {
    if (!sockets.at(-1).readyState) sockets.at(-1).opens();
    sockets.at(-1).says(HINT);
    pass(1000);
  }
  assert.ok(sockets.length < 20, String(sockets.length));
});

test("onauthrequired: its success reconnects at once, then with the back-off; its failure is the end", async () => {
  let times = 0;
  const onauthrequired = async ({ reason }) => {
    times++;
    if (reason === "no more") throw new Error("the user does not want to");
  };
  const { seen } = made({ onauthrequired, firstDelay: 1000 });
  sockets[0].ends(4401, "credential-missing");
  await turn();
  assert.equal(sockets.length, 2);
  sockets[1].ends(4401, "credential-missing");
  await turn();
  assert.equal(sockets.length, 2);
  pass(2000);
  assert.equal(sockets.length, 3);
  sockets[2].ends(4441, "no more");
  await turn();
  assert.equal(times, 3);
  assert.equal(seen.at(-1), "close 4441");
});

test("close() while away, and while a log-in is awaited", async () => {
  let proceed;
  const wait = () => new Promise((done) => (proceed = done));
  for (const code of [1006, 4401]) {
    sockets = [];
    const { socket, seen } = made({ onauthrequired: wait });
    sockets[0].ends(code);
    socket.close();
    assert.equal(socket.readyState, 2);
    pass(0);
    proceed?.();
    await turn();
    pass(1e9);
    assert.deepEqual(seen.slice(-2), ["error", "close 1006"]);
    assert.equal(sockets.length, 1);
  }
});

test("close() of an open one closes every socket, and hears nothing more", () => {
  const { socket, seen } = made();
  steady();
  sockets[0].says(HINT);
  steady();
  sockets[1].says(HINT);
  socket.close(3001, "bye");
  assert.deepEqual(sockets[1].closed, [3001, "bye"]);
  sockets[2].opens();
  pass(300);
  sockets[1].says("late");
  sockets[1].ends(3001, "bye");
  assert.deepEqual([sockets[0].readyState, sockets[2].readyState], [2, 2]);
  assert.deepEqual(seen, ["open", "open", "close 3001"]);
  socket.send("x");
  socket.close();
  assert.equal(socket.readyState, 3);
});

test("a wait ends with close()", () => {
  const { socket } = made({ firstDelay: undefined, maxDelay: undefined });
  steady();
  sockets[0].opens();
  sockets[0].says(HINT);
  sockets[1].ends();
  socket.close();
  pass(1e6);
  assert.equal(sockets.length, 2);
});

test("a handshake that nobody answers is given up", () => {
  made({ connectTimeout: 20000 });
  pass(20000);
  assert.equal(sockets[0].readyState, 2);
});

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
