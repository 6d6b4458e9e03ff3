// A WebSocket that comes back as wsguard's close codes ask it to; docs/client.md says how.

const [LOG_IN, GIVE_UP, BACK_OFF] = ["log in", "give up", "back off"];
const WHEN_NEEDED = "reconnect when needed";
const LOST = { code: 1006, reason: "", wasClean: false };
const Native = globalThis.WebSocket; // now: a page may put this class in its place

/** The seconds in a close's reason text, if any. */
export function retryAfter(reason) {
  const seconds = / retry-after=(\d+(\.\d+)?)$/.exec(reason)?.[1];
  return seconds && Number(seconds);
}

/** What a close asks of the client. The application's own codes are final. */
export function advise(code, reason) {
  if (code === 1012) return "reconnect after retry-after";
  if (code === 4408 && retryAfter(reason) === undefined) return WHEN_NEEDED;
  if ([3000, 4401, 4440, 4441].includes(code)) return LOG_IN;
  if ([1001, 1006, 1011, 1013, 1014, 3008, 4408, 4425, 4429].includes(code)) return BACK_OFF;
  return code >= 4500 && code < 4600 ? BACK_OFF : GIVE_UP;
}

/** Milliseconds to wait after `tries` in vain. What is `asked` is spread already. */
export function delay(tries, asked, { firstDelay = 5000, maxDelay = 60000, random = Math.random, hidden }) {
  const drawn = random() * (hidden ? maxDelay : Math.min(maxDelay, firstDelay * 2 ** Math.max(0, tries - 1)));
  return asked === undefined ? drawn : Math.max(asked * 1000, tries > 1 ? drawn : 0);
}

// A function of the application's that throws says nothing.
const ask = (what, data) => {
  try {
    return what?.(data);
  } catch {}
};
const says = (type) => (data) => data.includes?.(type) && JSON.parse(data).type === type;
const isHint = says("reconnect");
const isExpiry = says("session-expiring");
const isHidden = () => globalThis.document?.visibilityState === "hidden";
const bounded = (ms) => Math.min(ms, 2 ** 31 - 1); // longer timers fire at once
const after = (ms, act) => setTimeout(act, bounded(ms));
const event = (type, fields) => Object.assign(new Event(type), fields);

export default class GuardedWebSocket extends EventTarget {
  #options;
  #url;
  #protocols;
  #binaryType = "blob";
  #state = 0;
  #live; // sends, and is heard
  #next; // is being tried: a socket, or a stand-in while its protocols are fetched
  #old = new Map(); // replaced and still heard, with a timer each
  #tries = 0; // since a connection last stayed
  #logIns = 0; // likewise
  #steady; // timers
  #renewal;
  #isRenewing;
  #retry;
  #patient; // the guard said when
  #parked; // until something is sent
  #queue = [];
  #queued = 0;
  #seen = new Set();
  #listening = new AbortController();

  constructor(url, protocols, options = {}) {
    super();
    this.#options = options;
    this.onauthrequired = options.onauthrequired;
    this.#protocols = protocols ?? [];
    this.#url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    for (const type of ["open", "message", "error", "close", "away"]) {
      this["on" + type] = null;
      this.addEventListener(type, (event) => this["on" + type]?.(event));
    }
    this.#attempt();
    const { signal } = this.#listening;
    globalThis.addEventListener?.("online", () => (this.#live ? this.#replace() : this.#hurry()), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => isHidden() || this.#hurry(), { signal });
  }

  get url() {
    return this.#url.href;
  }
  get readyState() {
    return this.#state;
  }
  get protocol() {
    return this.#live?.protocol.replace(/^wsguard\.token\..*/, "") ?? "";
  }
  get extensions() {
    return this.#live?.extensions ?? "";
  }
  get bufferedAmount() {
    return (this.#live?.bufferedAmount ?? 0) + this.#queued;
  }
  get binaryType() {
    return this.#binaryType;
  }
  set binaryType(type) {
    this.#binaryType = type;
    for (const socket of [this.#live, this.#next, ...this.#old.keys()]) if (socket) socket.binaryType = type;
  }

  send(data) {
    if (this.#state > 1) return;
    if (this.#live?.readyState === 1) return this.#live.send(data);
    // A copy is queued: buffers may change after send().
    if (ArrayBuffer.isView(data)) data = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (!(data instanceof Blob)) data = data?.byteLength >= 0 ? data.slice() : String(data);
    const size = new Blob([data]).size || 1;
    const { maxQueue = 2 ** 20 } = this.#options;
    if (this.#queued + size > maxQueue) throw new DOMException("the queue is full", "QuotaExceededError");
    this.#queue.push([data, size]);
    this.#queued += size;
    if (this.#parked) this.#hurry();
  }

  close(code, reason) {
    if (this.#state > 1) return;
    const last = this.#live ?? this.#next;
    if (last?.close) last.close(code, reason);
    else after(0, () => this.#finish(LOST));
    clearTimeout(this.#retry);
    this.#state = 2;
  }

  #attempt() {
    this.#cancel();
    this.#tries++;
    const { handshakeToken } = this.#options;
    if (!handshakeToken && !this.#protocols.call) return this.#dial(this.#protocols);
    const attempt = (this.#next = {});
    const proceed = (act) => (result) => attempt === this.#next && this.#state < 2 && act(result);
    this.#offer(handshakeToken)
      .then(proceed((protocols) => this.#dial(protocols)))
      .catch(proceed((error) => this.#gone(attempt, error?.code > 999 ? error : LOST)));
  }

  async #offer(withToken) {
    const protocols = [].concat(this.#protocols.call ? await this.#protocols() : this.#protocols);
    if (withToken) protocols.push("wsguard.token." + (await this.#post("handshake-token", protocols)).token);
    return protocols;
  }

  async #post(name, protocols) {
    const { fetch = globalThis.fetch, connectTimeout = 20000 } = this.#options;
    const { pathname, search } = this.#url;
    const path = `/.wsguard/${name}?path=${encodeURIComponent(pathname)}`;
    const answer = await fetch(new URL(path, this.url.replace("ws", "http")), {
      method: "POST",
      credentials: "include",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ protocols, query: search.slice(1) }),
      signal: AbortSignal.timeout(bounded(connectTimeout)),
    });
    if (answer.ok) return answer.json();
    const { reason = name } = await answer.json().catch(() => ({}));
    const wait = answer.headers.get("Retry-After");
    throw { ...LOST, code: 4000 + answer.status, reason: reason + (wait ? " retry-after=" + wait : "") };
  }

  #dial(protocols) {
    const { WebSocket = Native, settle = 200, connectTimeout = 20000 } = this.#options;
    const socket = (this.#next = new WebSocket(this.url, protocols));
    const good = () => socket === this.#next && socket.readyState === 1 && this.#state < 2 && this.#take(socket);
    let timer = after(connectTimeout, () => socket.close());
    socket.binaryType = this.#binaryType;
    socket.onopen = () => {
      clearTimeout(timer);
      timer = after(settle, good); // a refusal has an `open` too
    };
    socket.onmessage = (event) => {
      good();
      this.#receive(socket, event);
    };
    socket.onerror = () => {};
    socket.onclose = (event) => {
      clearTimeout(timer);
      this.#gone(socket, event);
    };
  }

  #take(socket) {
    const old = this.#live;
    const { overlap = 60000 } = this.#options;
    if (old) this.#old.set(old, after(overlap, () => old.close()));
    this.#live = socket;
    this.#next = undefined;
    this.#state = 1;
    clearTimeout(this.#steady);
    this.#steady = after(5000, () => (this.#tries = this.#logIns = 0));
    this.dispatchEvent(event("open")); // its handlers send before the queue
    while (this.#queue.length && this.#live?.readyState === 1) {
      const [data, size] = this.#queue.shift();
      this.#queued -= size;
      this.#live.send(data);
    }
    if (!this.#renewal) this.#renew();
  }

  #receive(socket, { data, origin }) {
    const { hint = isHint, expiring = isExpiry, id, renew } = this.#options;
    if (this.#state > 1) return;
    if (ask(hint, data)) return socket === this.#live && this.#replace();
    if (renew && ask(expiring, data)) return this.#renew(renew);
    const key = ask(id, data);
    if (key !== undefined) {
      if (this.#seen.has(key)) return;
      this.#seen.add(key);
      if (this.#seen.size > 1000) this.#seen.delete(this.#seen.values().next().value);
    }
    this.dispatchEvent(new MessageEvent("message", { data, origin }));
  }

  #gone(socket, { code, reason, wasClean }) {
    const close = { code, reason, wasClean };
    const wasLive = socket === this.#live;
    clearTimeout(this.#old.get(socket));
    if (this.#old.delete(socket) || (!wasLive && socket !== this.#next)) return;
    if (this.#state > 1) return wasLive === !!this.#live && this.#finish(close);
    const advice = ask(this.#options.advise, close) ?? advise(code, reason);
    const isFinal = advice === GIVE_UP || advice === LOG_IN;
    if (wasLive) {
      clearTimeout(this.#steady);
      this.#live = undefined;
      this.#state = 0;
      // A successor decides, unless this one was sent away for good.
      if ((this.#next || this.#retry) && (!isFinal || code === 1000)) return this.#tell(close, advice);
    }
    this.#cancel();
    if (this.#live && isFinal) return; // its own end will tell
    if (advice === GIVE_UP) return this.#finish(close);
    if (advice === LOG_IN) return this.#logIn(close);
    this.#parked = advice === WHEN_NEEDED && isHidden() && !this.#queue.length;
    const ms = this.#wait(retryAfter(reason));
    if (!this.#live) this.#tell(close, advice, ms);
  }

  async #logIn(close) {
    this.#tell(close, LOG_IN);
    try {
      if (this.#state < 2) await this.onauthrequired(close); // there may be none
      if (this.#state < 2) this.#logIns++ ? this.#wait() : this.#attempt();
    } catch {
      if (this.#state < 2) this.#finish(close);
    }
  }

  #replace() {
    if (this.#next) return;
    if (!this.#retry) this.#tries > 3 ? this.#wait() : this.#attempt(); // deploys are quick
    else if (this.#tries < 4) this.#hurry();
  }

  #hurry() {
    if (this.#retry && !this.#patient) this.#attempt();
  }

  #wait(asked) {
    const ms = this.#parked ? Infinity : delay(this.#tries, asked, { ...this.#options, hidden: isHidden() });
    this.#patient = asked;
    this.#retry = after(ms, () => this.#attempt());
    return ms;
  }

  #cancel() {
    const next = this.#next;
    clearTimeout(this.#retry);
    this.#next = this.#retry = this.#parked = undefined;
    next?.close?.();
  }

  async #renew(refresh) {
    const { renew } = this.#options;
    if (this.#isRenewing) return;
    clearTimeout(this.#renewal);
    this.#renewal = undefined;
    if (!renew || this.#state !== 1) return;
    this.#isRenewing = true;
    let ms = 30000;
    try {
      await refresh?.call?.();
      const { tokenLifetimeSeconds } = await this.#post("renew", await this.#offer());
      ms = (tokenLifetimeSeconds ?? NaN) * (700 + 200 * Math.random());
    } catch (error) {
      if (error?.code > 999 && advise(error.code) !== BACK_OFF) ms = NaN;
    }
    this.#isRenewing = false;
    if (ms >= 0 && this.#state < 2) this.#renewal = after(Math.max(ms, 1000), () => this.#renew(renew));
  }

  #tell(close, advice, delay) {
    this.dispatchEvent(event("away", { ...close, advice, delay }));
  }

  #finish(close) {
    this.#state = 3;
    this.#cancel();
    clearTimeout(this.#renewal);
    clearTimeout(this.#steady);
    for (const socket of this.#old.keys()) socket.close();
    this.#listening.abort();
    if (!close.wasClean) this.dispatchEvent(event("error"));
    this.dispatchEvent(event("close", close));
  }
}

["CONNECTING", "OPEN", "CLOSING", "CLOSED"].forEach((name, value) => {
  GuardedWebSocket[name] = GuardedWebSocket.prototype[name] = value;
});
