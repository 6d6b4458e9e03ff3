// A GraphQL server that nobody here wrote: graphql-ws on npm ws.
import { GraphQLObjectType, GraphQLSchema, GraphQLString, GraphQLInt } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { say } from "./say.mjs";

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
    },
  }),
});
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, path: "/graphql", perMessageDeflate: { threshold: 0 } });
useServer({ schema, onConnect: ({ connectionParams }) => say("init", { params: connectionParams }) }, server);
server.on("connection", (socket) => {
  say("connection", { protocol: socket.protocol, extensions: socket.extensions });
  socket.on("close", (code, reason) => say("close", { code, reason: reason.toString() }));
});
server.on("listening", () => say("listening", { port: server.address().port }));
