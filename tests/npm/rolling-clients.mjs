// Many clients on client.js. Each numbers what it sends; at SIGTERM all fall silent, and tell what became of them.
import GuardedWebSocket from "../../wsguard/client/client.js";
import { BrowserLike, options, say } from "./say.mjs";

const { url, count, every } = options;
const OPENING = 16; // handshakes under way at a time
const LAST = 1000; // ms for what is under way when they fall silent

class Rolling {
  sent = 0;
  heard = []; // the ids that the application got, as they came
  received = 0; // messages, what the helper dropped included
  opens = []; // [when, whether the connection before was open still]
  closes = []; // [when, code]
  gaps = []; // [from, to]: no connection was open
  #sockets = new Set();
  #away;

  constructor(name) {
    this.name = name;
    const self = this;
    class Watched extends BrowserLike {
      constructor(address, protocols) {
        super(address, protocols);
        this.addEventListener("open", () => self.#sockets.add(this));
        this.addEventListener("message", () => self.received++);
        this.addEventListener("close", ({ code }) => self.#ended(this, code));
      }
      close(...args) {
        super.close(...args); // ws answers a Close by it
        self.#lost(this);
      }
    }
    const id = (data) => JSON.parse(data).id;
    this.socket = new GuardedWebSocket(`${url}/${name}`, [], { WebSocket: Watched, id });
    this.socket.onmessage = ({ data }) => this.heard.push(id(data));
    this.opened = new Promise((done) => (this.socket.onopen = () => done(this.#open())));
  }

  speak() {
    const say = () => this.socket.send(JSON.stringify({ id: ++this.sent }));
    this.first = setTimeout(() => (this.timer = setInterval(say, every)), Math.random() * every);
  }

  report() {
    if (this.#away) this.gaps.push([this.#away, Date.now()]);
    const { name, sent, heard, received, opens, closes, gaps } = this;
    return { event: "client", name, sent, heard, received, opens, closes, gaps };
  }

  #open() {
    const open = [...this.#sockets].filter(({ readyState }) => readyState === 1);
    this.opens.push([Date.now(), open.length > 1]);
    if (this.#away) this.gaps.push([this.#away, Date.now()]);
    this.#away = undefined;
  }

  #lost(socket) {
    this.#sockets.delete(socket);
    if (this.opens.length && !this.#sockets.size) this.#away ??= Date.now();
  }

  #ended(socket, code) {
    this.#lost(socket);
    this.closes.push([Date.now(), code]);
  }
}

const clients = [];
while (clients.length < count) {
  const some = Array.from({ length: Math.min(OPENING, count - clients.length) }, (_, n) => new Rolling(`c${clients.length + n}`));
  clients.push(...some);
  await Promise.all(some.map(({ opened }) => opened));
}
for (const client of clients) client.speak();
process.once("SIGTERM", () => {
  for (const { first, timer } of clients) clearTimeout(first), clearInterval(timer);
  setTimeout(() => {
    const lines = clients.map((client) => JSON.stringify(client.report()) + "\n");
    process.stdout.write(lines.join(""), () => process.exit());
  }, LAST);
});
say("open");
