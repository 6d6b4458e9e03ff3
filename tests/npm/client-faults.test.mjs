// What goes wrong around client.js: an application that throws, answers that do not come, strangers who storm.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { begin, made, pass, sockets, steady, turn } from "./played.mjs";

beforeEach(begin);

const answer = (body) => new Response(JSON.stringify(body));

test("a renewal is asked for once at a time, however often the guard, or a stranger, says so", async () => {
  let refreshed = 0;
  let proceed;
  const renew = () => (refreshed++, new Promise((done) => (proceed = done)));
  made({ renew, fetch: async () => answer({ tokenLifetimeSeconds: null }) });
  await steady();
  await turn();
  for (let n = 0; n < 100; n++) sockets[0].says('{"type":"session-expiring"}');
  assert.equal(refreshed, 1);
  proceed();
  await turn();
  sockets[0].says('{"type":"session-expiring"}');
  assert.equal(refreshed, 2);
});

test("a renewal that is answered after the end sets no timer", async () => {
  let proceed;
  const { socket } = made({ renew: true, fetch: () => new Promise((done) => (proceed = done)) });
  await steady();
  await turn();
  socket.close();
  sockets[0].ends(1005);
  const set = mock.method(globalThis, "setTimeout");
  proceed(answer({ tokenLifetimeSeconds: 100 }));
  await turn();
  set.mock.restore();
  assert.equal(set.mock.callCount(), 0);
});

test("what is asked of the guard has a limit in time", async () => {
  const limits = mock.method(AbortSignal, "timeout");
  for (const connectTimeout of [undefined, 10, Infinity])
    made({ handshakeToken: true, connectTimeout, fetch: async (url, { signal }) => answer({ token: signal.aborted }) });
  await turn();
  limits.mock.restore();
  assert.deepEqual(limits.mock.calls.map((call) => call.arguments[0]), [20000, 10, 2 ** 31 - 1]);
  assert.equal(sockets.length, 3);
});

test("functions of the application's that throw cost no message and no connection", () => {
  const fails = () => JSON.parse("no JSON");
  const { seen } = made({ hint: fails, expiring: fails, id: fails, advise: fails, renew: true, fetch: fails, firstDelay: 1000 });
  sockets[0].opens();
  sockets[0].says("hello");
  sockets[0].ends(1013, "slow-consumer");
  assert.deepEqual(seen, ["open", "hello", "away 1013 back off 1000"]);
});

test("protocols that no socket takes are a lost attempt", async () => {
  const WebSocket = class {
    constructor() {
      throw new SyntaxError("a duplicate");
    }
  };
  const { seen } = made({ WebSocket, firstDelay: 1000 }, async () => ["a", "a"]);
  await turn();
  assert.deepEqual(seen, ["away 1006 back off 1000"]);
});

test("null is no protocol", () => {
  made({}, null);
  assert.deepEqual(sockets[0].protocols, []);
});

test("a log-in after attempts in vain is followed by an attempt at once", async () => {
  const { seen } = made({ onauthrequired() {}, firstDelay: 1000 });
  for (const wait of [1000, 2000, 4000]) {
    sockets.at(-1).ends();
    pass(wait);
  }
  sockets[3].ends(4440, "session-expired");
  await turn();
  assert.equal(sockets.length, 5);
  assert.equal(seen.at(-1), "away 4440 log in");
});

test("who closes it is asked for no log-in", async () => {
  let asked = 0;
  const { socket } = made({ onauthrequired: () => asked++ });
  socket.onaway = () => socket.close();
  sockets[0].ends(4401, "credential-missing");
  await turn();
  assert.equal(asked, 0);
});
