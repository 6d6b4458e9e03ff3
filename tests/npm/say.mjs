// Every script here tells what it sees as one JSON object a line, each with an `event`.
export const say = (event, details = {}) => console.log(JSON.stringify({ event, ...details }));

// The options of a script: one JSON object as its argument.
export const options = JSON.parse(process.argv[2] ?? "{}");

// ws with the headers a browser would send by itself.
import { WebSocket } from "ws";
export class BrowserLike extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { headers: options.headers ?? {} });
  }
}
