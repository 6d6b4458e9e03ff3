// How client.js lives: refusals, losses, the queue, make before break, log-ins, its end.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { HINT, begin, made, pass, sockets, steady, turn } from "./played.mjs";

beforeEach(begin);

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

test("a hint ends the wait of a refused successor, unless the guard asked for it, or there were many", () => {
  made({ firstDelay: 1e6, maxDelay: 1e6 });
  steady();
  sockets[0].says(HINT);
  for (const number of [1, 2]) {
    sockets[number].ends();
    pass(1000);
    sockets[0].says(HINT);
    assert.equal(sockets.length, number + 2);
  }
  sockets[3].ends(4502, "bad-gateway retry-after=7");
  sockets[0].says(HINT);
  assert.equal(sockets.length, 4);
  pass(7000);
  assert.equal(sockets.length, 4, "by now its own wait is longer");
  pass(1e6);
  sockets[4].ends();
  sockets[0].says(HINT);
  pass(5e5);
  assert.equal(sockets.length, 5);
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
  assert.ok(sockets.length < 30, String(sockets.length));
});

test("a quick deploy may move it from replica to replica without a wait", () => {
  const { seen } = made({ firstDelay: 1e6 });
  sockets[0].opens();
  for (const replica of [1, 2, 3]) {
    pass(1000);
    sockets.at(-1).says(HINT);
    assert.equal(sockets.length, replica + 1);
    sockets.at(-1).opens();
  }
  pass(1000);
  sockets.at(-1).says(HINT);
  assert.equal(sockets.length, 4);
  assert.deepEqual(seen, ["open", "open", "open", "open"]);
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
    begin();
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
