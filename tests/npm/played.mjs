// Sockets that a test plays under client.js, in a time that the test turns.
import { mock } from "node:test";
import GuardedWebSocket from "../../wsguard/client/client.js";

export let sockets;
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

export const made = (options = {}, protocols = []) => {
  const socket = new GuardedWebSocket("ws://app.test/ws?a=b", protocols, { WebSocket: Played, random: () => 1, ...options });
  const seen = [];
  for (const type of ["open", "message", "error", "close", "away"])
    socket.addEventListener(type, (event) => seen.push(event.data ?? [type, event.code, event.advice, event.delay].filter((x) => x !== undefined).join(" ")));
  return { socket, seen };
};
export const steady = async (socket = sockets.at(-1)) => {
  socket.opens();
  pass(6000);
};
export const pass = (ms) => {
  // In steps: a timer that a timer has set is due from then on.
  for (let left = ms, step; left >= 0; left -= step || 1) mock.timers.tick((step = Math.min(left, left > 30000 ? left - 30000 : 100)));
};
export const turn = () => new Promise((done) => setImmediate(done)); // promises run
export const HINT = '{"type":"reconnect"}';

export const begin = () => {
  sockets = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
};
