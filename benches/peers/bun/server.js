// Bun's own WebSocket server with its own publish; each line of the input is one message.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("a WebSocket", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe("all");
    },
    message() {},
  },
});

for await (const line of console) server.publish("all", line);
process.exit(0);
