// The pure half of client.js: what a close means, and how long to wait.
import assert from "node:assert/strict";
import { test } from "node:test";
import { advise, delay, retryAfter } from "../../wsguard/client/client.js";

const table = JSON.parse(process.env.TABLE);

test("what the guard sends, as it means it", () => {
  for (const { code, reason, advice } of table) assert.equal(advise(code, reason), advice, `${code} ${reason}`);
});

test("what the guard has no part in", () => {
  for (const code of [1000, 1003, 1005, 1007, 1008, 1010, 3003, 3999, 4000, 4099, 4999])
    assert.equal(advise(code, ""), "give up", code);
  for (const code of [1001, 1006, 3008]) assert.equal(advise(code, ""), "back off", code);
  assert.equal(advise(3000, ""), "log in");
});

test("retry-after is read at the end of the text, and nowhere else", () => {
  assert.equal(retryAfter("draining retry-after=3.25"), 3.25);
  assert.equal(retryAfter("restart retry-after=0"), 0);
  for (const text of ["", undefined, "draining", "retry-after=3", "x retry-after=", "x retry-after=-1", "x retry-after=1e9"])
    assert.equal(retryAfter(text), undefined, text);
});

const bounds = { firstDelay: 1000, maxDelay: 60000 };
const widest = (tries, asked, more) => delay(tries, asked, { ...bounds, random: () => 1, ...more });
const narrowest = (tries, asked) => delay(tries, asked, { ...bounds, random: () => 0 });

test("the window doubles up to its bound, and jitter is full", () => {
  assert.deepEqual([0, 1, 2, 3, 7, 5000].map((tries) => widest(tries)), [1000, 1000, 2000, 4000, 60000, 60000]);
  assert.equal(narrowest(5), 0);
  assert.equal(widest(0, undefined, { hidden: true }), 60000);
});

test("what the guard asked for is kept to: exactly at first, at least later", () => {
  assert.deepEqual([0, 1, 2, 4].map((tries) => widest(tries, 3)), [3000, 3000, 3000, 8000]);
  assert.equal(narrowest(4, 3), 3000);
  assert.equal(widest(0, 0), 0);
  assert.equal(widest(1, 3, { hidden: true }), 3000);
});
