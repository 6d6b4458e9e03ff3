// A GraphQL server that nobody here wrote: graphql-ws on npm ws.
import { GraphQLObjectType, GraphQLSchema, GraphQLString, GraphQLInt } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { options, say } from "./say.mjs";

const { port = 0, name = "", graceful = false } = options;
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: "Query",
    fields: { hello: { type: GraphQLString, resolve: () => "world" } },
  }),
  subscription: new GraphQLObjectType({
    name: "Subscription",
    fields: {
      count: {
        type: GraphQLInt,
        args: { to: { type: GraphQLInt } },
        subscribe: async function* (_, { to }) {
          for (let count = 1; count <= to; count++) yield { count };
          if (to === 0) await new Promise(() => {});
        },
      },
      ticks: {
        type: GraphQLString,
        subscribe: async function* () {
          for (let count = 1; ; count++) {
            yield { ticks: `${name} ${count}` };
            await new Promise((go) => setTimeout(go, 50));
          }
        },
      },
    },
  }),
});
const server = new WebSocketServer({ host: "127.0.0.1", port, path: "/graphql", perMessageDeflate: { threshold: 0 } });
const serving = useServer({ schema, onConnect: ({ connectionParams }) => say("init", { params: connectionParams }) }, server);
server.on("connection", (socket, request) => {
  say("connection", { redial: request.headers["x-wsguard-redial"], protocol: socket.protocol, extensions: socket.extensions });
  socket.on("close", (code, reason) => say("close", { code, reason: reason.toString() }));
});
// graphql-ws says 1001 to everyone as it goes.
if (graceful) process.on("SIGTERM", async () => { await serving.dispose(); process.exit(); });
server.on("listening", () => say("listening", { port: server.address().port }));
