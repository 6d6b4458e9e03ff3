// SignalR's own client, as it is in Node.js; it takes its tokens from a list, one a connection, and comes back when it is cut.
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { options, say } from "./say.mjs";

const { url, tokens, headers = {}, skipNegotiation = false } = options;
const connection = new HubConnectionBuilder()
  .withUrl(url, { headers, skipNegotiation, transport: HttpTransportType.WebSockets, accessTokenFactory: () => tokens[0] })
  .withAutomaticReconnect([100, 200, 400])
  .configureLogging(LogLevel.None)
  .build();
const shout = async () => say("answer", { answer: await connection.invoke("Shout", "hello") });
connection.onreconnecting((error) => {
  if (tokens.length > 1) tokens.shift();
  say("reconnecting", { message: error?.message });
});
connection.onreconnected(shout);
connection.onclose((error) => say("closed", { message: error?.message }));
connection.start().then(shout, (error) => say("not-started", { message: error.message }));
