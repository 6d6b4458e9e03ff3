// The guard at a glance. What a peer chose (a subject, a path, an Origin) only ever becomes text, never markup.

const EVERY = 2000; // milliseconds between two looks
const at = (id) => document.getElementById(id);
const sum = (rows, keep = () => true) => rows.filter(keep).reduce((total, row) => total + row.value, 0);

function element(name, text = "", properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(text);
  return made;
}

function say(id, words, alarm = false) {
  at(id).textContent = words;
  at(id).classList.toggle("alarm", alarm);
}

function size(bytes) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (bytes < 1024) return `${bytes.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    bytes /= 1024;
  }
  return `${bytes.toFixed(1)} GiB`;
}

/** Rates are differences between two looks, by the guard's own clock. */
function rates(before, now) {
  const seconds = (Date.parse(now.now) - Date.parse(before.now)) / 1000;
  if (seconds <= 0 || before.startedAt !== now.startedAt) return null;
  const rate = (read) => Math.max(0, (read(now) - read(before)) / seconds);
  return {
    handshakes: rate((look) => sum(look.handshakes)),
    refusals: rate((look) => sum(look.handshakes, (row) => row.result === "refused")),
    messages: rate((look) => sum(look.messages)),
    bytes: rate((look) => sum(look.bytes)),
  };
}

function bars(id, counts) {
  const rows = [...counts].sort((one, other) => other[1] - one[1]);
  const most = rows.length ? rows[0][1] : 1;
  at(id).replaceChildren(...rows.map(([reason, count]) => {
    const row = element("li");
    row.append(element("span", reason), element("meter", "", { max: most, value: count, ariaLabel: reason }));
    row.append(element("output", String(count)));
    return row;
  }));
  if (!rows.length) at(id).append(element("li", "none"));
}

function byReason(rows, keep = () => true) {
  const counts = new Map();
  for (const row of rows.filter(keep)) counts.set(row.reason, (counts.get(row.reason) ?? 0) + row.value);
  return counts;
}

function policies(look) {
  const names = new Set([...look.policies, ...look.connections.map((row) => row.policy)]);
  at("policies").tBodies[0].replaceChildren(...[...names].map((name) => {
    const of = (result) => sum(look.handshakes, (row) => row.policy === name && row.result === result);
    const live = sum(look.connections, (row) => row.policy === name);
    const row = element("tr");
    for (const cell of [name, live, of("admitted"), of("refused"), of("audited")]) row.append(element("td", String(cell)));
    return row;
  }));
}

function drain({ state, window, remaining, total, closed }) {
  at("drain").hidden = state === "serving";
  at("drain-progress").value = total ? closed / total : 1;
  say("drain-words", state === "drained" ? "drained" : `${remaining} connections left, over ${window}`);
}

function migration({ state, to, total, closed, window, backends }) {
  at("backends").hidden = backends.length < 2;
  at("backends").querySelector("tbody").replaceChildren(...backends.map((one) => {
    const row = element("tr");
    const name = one.active ? `${one.name} (active)` : one.name;
    for (const cell of [name, one.connections, one.handshakes, one.requests]) row.append(element("td", String(cell)));
    return row;
  }));
  const words = state === "idle" ? "" : `${state}: to ${to} over ${window}, ${closed} of ${total} closed`;
  say("migration-words", words, state === "paused" || state === "aborted");
}

let last = null;

function show(look) {
  const down = look.eventSources.filter((row) => row.value !== 1).map((row) => row.source);
  const words = [`version ${look.version}`, `policies ${look.revision}`, `since ${look.startedAt.slice(0, 19)}Z`];
  if (look.lastReloadFailed) words.push("the last reload was refused");
  if (down.length) words.push(`away: ${down.join(", ")}`);
  say("about", words.join(" · "), look.lastReloadFailed || down.length > 0);
  at("connections").value = sum(look.connections);
  const rate = last && rates(last, look);
  for (const name of ["handshakes", "refusals", "messages"]) at(name).value = rate ? rate[name].toFixed(1) : "–";
  at("bytes").value = rate ? size(rate.bytes) : "–";
  policies(look);
  bars("refused", byReason(look.handshakes, (row) => row.result === "refused"));
  bars("ended", byReason(look.closed));
  drain(look.drain);
  migration(look.migration);
  last = look;
}

async function watch() {
  try {
    const answer = await fetch("v1/overview", { cache: "no-store" });
    if (!answer.ok) throw new Error(`the guard answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    say("about", `no answer: ${error.message}`, true);
  }
  setTimeout(watch, document.hidden ? 5 * EVERY : EVERY);
}

/** Ask the control API with the token of the form, which stays in this page's memory alone. */
async function ask(method, path) {
  const answer = await fetch(path, { method, headers: { Authorization: `Bearer ${at("token").value}` } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `the guard answered ${answer.status}`);
  return body;
}

function connection(one) {
  const row = element("tr");
  const times = [one.openedAt, one.expiresAt].map((time) => (time ? `${time.slice(0, 19)}Z` : "–"));
  const passed = `${one.messages.clientToBackend}/${one.messages.backendToClient}`;
  for (const cell of [one.id, one.policy, one.subject ?? "–", one.clientIP, one.path, ...times, passed]) {
    row.append(element("td", cell));
  }
  const kill = element("button", "End", { type: "button", ariaLabel: `End connection ${one.id}` });
  kill.onclick = () => guarded(async () => {
    await ask("DELETE", `v1/connections/${encodeURIComponent(one.id)}?reason=page`);
    row.remove();
    say("search-words", `ended ${one.id}`);
  });
  row.append(element("td", kill));
  return row;
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    say("search-words", error.message, true);
  }
}

at("search").onsubmit = (event) => {
  event.preventDefault();
  guarded(async () => {
    const query = new URLSearchParams({ limit: "100" });
    if (at("subject").value) query.set("subject", at("subject").value);
    const { connections, cursor } = await ask("GET", `v1/connections?${query}`);
    at("found").hidden = false;
    at("found").tBodies[0].replaceChildren(...connections.map(connection));
    say("search-words", cursor ? `the first ${connections.length}` : `${connections.length} found`);
  });
};

watch();
