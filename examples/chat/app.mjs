// A chat on Socket.IO, as small as it goes: a login, a log-out, "who am I" and a page. It knows nothing of wsguard.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { Server } from "socket.io";

const users = new Map(); // by session cookie
const cookie = ({ headers }) => /\bsid=([\w-]+)/.exec(headers.cookie ?? "")?.[1];

const PAGE = `<!doctype html><title>chat</title><pre id="lines"></pre>
<form id="form"><input id="text" autofocus></form>
<form method="post" action="/logout" target="_blank"><button>log out</button></form>
<script src="/socket.io/socket.io.js"></script>
<script>
const show = (line) => lines.append(line + "\\n");
const socket = io({ transports: ["websocket"] });
socket.on("said", show);
socket.on("connect", () => show("- connected"));
socket.on("connect_error", (error) => show("- refused: " + error.message));
socket.on("disconnect", (reason, { context } = {}) => show("- gone: " + (context?.reason || reason)));
form.onsubmit = () => { socket.emit("say", text.value); text.value = ""; return false; };
</script>`;

const http = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://chat");
  const user = users.get(cookie(request));
  if (pathname === "/") {
    response.setHeader("Content-Type", "text/html").end(PAGE);
  } else if (pathname === "/login") { // ?user=alice; a real one asks for a password, too
    const session = randomUUID();
    users.set(session, searchParams.get("user") ?? "somebody");
    response.writeHead(303, { "Set-Cookie": `sid=${session}; HttpOnly; SameSite=Lax; Path=/`, Location: "/" }).end();
  } else if (pathname === "/logout" && request.method === "POST") {
    users.delete(cookie(request));
    response.writeHead(303, { "Set-Cookie": "sid=; Max-Age=0; Path=/", Location: "/" }).end();
  } else if (pathname === "/me") {
    response.writeHead(user ? 200 : 401, { "Content-Type": "application/json" }).end(JSON.stringify({ user: { id: user } }));
  } else {
    response.writeHead(404).end();
  }
});

// Only WebSocket: Socket.IO's other transport is plain HTTP, which the guard passes on and does not judge.
const io = new Server(http, { transports: ["websocket"] });
io.on("connection", (socket) => {
  const user = users.get(cookie(socket.request)) ?? "nobody";
  socket.emit("said", `welcome, ${user}`);
  socket.on("say", (text) => io.emit("said", `${user}: ${text}`));
});

const port = Number(process.env.PORT ?? 3000);
http.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}`)); // nobody reaches it around the guard
