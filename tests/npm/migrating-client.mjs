// A client that heeds the guard's hint in the language of its library: it opens its next connection, at `next`, and uses
// the old one once more before that ends. What the library then does on the old address is its own affair.
import { options, say } from "./say.mjs";

const { dialect, url, next } = options;

const dialects = {
  "socket.io": async () => {
    const { io } = await import("socket.io-client");
    const open = (address) => io(address, { transports: ["websocket"], forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 200 });
    const socket = open(url);
    socket.on("connect", () => say("open"));
    socket.on("wsguard:reconnect", () => {
      say("hinted");
      open(next).on("connect", () => socket.emit("shout", "still", (answer) => say("overlap", { answer })));
    });
    socket.on("disconnect", (reason, details) => say("closed", { reason, code: details?.context?.code }));
  },

  signalr: async () => {
    const { HttpTransportType, HubConnectionBuilder, LogLevel } = await import("@microsoft/signalr");
    const build = (address) =>
      new HubConnectionBuilder()
        .withUrl(address.replace("ws:", "http:"), { skipNegotiation: true, transport: HttpTransportType.WebSockets })
        .withAutomaticReconnect(Array(50).fill(100))
        .configureLogging(LogLevel.None)
        .build();
    const hub = build(url);
    hub.on("wsguard:reconnect", async () => {
      say("hinted");
      await build(next).start();
      say("overlap", { answer: await hub.invoke("Shout", "still") });
    });
    hub.onreconnecting(() => say("closed"));
    hub.onreconnected(() => say("open"));
    hub.onclose(() => say("gave-up"));
    await hub.start();
    say("open");
  },

  "graphql-ws": async () => {
    const { createClient } = await import("graphql-ws");
    const { WebSocket } = await import("ws");
    const build = (address, on) =>
      createClient({ url: address, webSocketImpl: WebSocket, lazy: false, retryAttempts: 50, retryWait: () => new Promise((go) => setTimeout(go, 100)), on });
    const hello = (client) => new Promise((next, error) => client.subscribe({ query: "{ hello }" }, { next, error, complete: () => {} }));
    const client = build(url, {
      connected: () => say("open"),
      closed: ({ code, reason }) => say("closed", { code, reason }),
      ping: (received, payload) => {
        if (!received || payload?.type !== "reconnect") return;
        say("hinted");
        build(next, { connected: async () => say("overlap", { answer: (await hello(client)).data.hello }) });
      },
    });
    client.subscribe({ query: "subscription { count(to: 0) }" }, { next: () => {}, error: () => say("gave-up"), complete: () => say("gave-up") });
  },

  mqtt5: async () => {
    const { default: mqtt } = await import("mqtt");
    const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 100 });
    client.on("connect", () => say("open"));
    client.on("disconnect", ({ reasonCode }) => say("goodbye", { reasonCode }));
    client.on("close", () => say("closed"));
    client.on("error", ({ message }) => say("error", { message }));
  },

  phoenix: async () => {
    const { Socket } = await import("phoenix");
    const { WebSocket } = await import("ws");
    const build = (address) => new Socket(address, { transport: WebSocket, reconnectAfterMs: () => 100 });
    const socket = build(url);
    const room = socket.channel("room:lobby");
    socket.onOpen(() => say("open"));
    socket.onClose(({ code, reason }) => say("closed", { code, reason }));
    socket.onMessage(({ topic, event }) => {
      if (topic !== "phoenix" || event !== "wsguard:reconnect") return;
      say("hinted");
      const other = build(next);
      other.onOpen(() => room.push("shout", { text: "still" }).receive("ok", ({ text }) => say("overlap", { answer: text })));
      other.connect();
    });
    socket.connect();
    room.join().receive("ok", () => say("joined"));
  },
};

await dialects[dialect]();
