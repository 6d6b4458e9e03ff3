// The MQTT client of browsers and Node.js: subscribes, publishes, and comes back by itself, with a token of the list each time.
import mqtt from "mqtt";
import { BrowserLike, options, say } from "./say.mjs";

const { url, tokens = [], topic = "kitchen/light", headers } = options;
class Here extends BrowserLike {
  constructor(address, protocols) {
    super(address, protocols);
    this.on("close", (code, reason) => say("close", { code, reason: reason.toString(), protocol: this.protocol }));
  }
}
const withLogin = (protocols) => (tokens.length ? [...protocols, `bearer.${tokens.length > 1 ? tokens.shift() : tokens[0]}`] : protocols);
const client = mqtt.connect(url, {
  createWebsocket: (address, protocols) => new Here(address, withLogin(protocols)),
  reconnectPeriod: 200,
});
client.on("connect", () => {
  say("connect");
  client.subscribe(topic, () => client.publish(topic, "on", { qos: 1 }));
});
client.on("message", (_, message) => say("message", { message: message.toString() }));
client.on("reconnect", () => say("reconnect"));
client.on("error", (error) => say("error", { message: error.message }));
