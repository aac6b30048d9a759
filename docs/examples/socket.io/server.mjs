// Socket.IO and Express on one session: a socket knows who is logged in, and is told to go at a logout on any process.
// npm install clustered-redis-store express express-session redis socket.io
import { createServer } from "node:http";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { Server } from "socket.io";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const store = new ClusteredRedisStore({ client });
const secret = process.env.SESSION_SECRET ?? "change me";
const sessions = session({ store, secret, resave: false, saveUninitialized: false });

const app = express();
app.use(express.json());
app.use(sessions);
app.post("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = req.body.user;
    res.json({ user: req.session.user });
  });
});
app.post("/logout", (req, res, next) => {
  const { id } = req.session;
  req.session.destroy((error) => {
    if (error) return next(error);
    io.in(id).disconnectSockets(true); // those on this process
    res.json({});
  });
});

const server = createServer(app);
const io = new Server(server);
io.engine.use(sessions); // the handshake is an HTTP request
io.use(({ request }, next) => next(request.session.user ? undefined : new Error("not logged in")));
io.on("connection", (socket) => {
  const { session } = socket.request;
  socket.join(session.id);
  // The session in the socket's hand is that of the handshake: load it anew before you use it, and save what you change.
  socket.on("visit", (answer) => {
    session.reload((error) => {
      if (error) return socket.disconnect(true); // it has ended
      session.visits = (session.visits ?? 0) + 1;
      session.save((failure) => answer(failure ? { error: "try again" } : { visits: session.visits }));
    });
  });
});
// Another process has written or deleted a session: if it is gone, so must its sockets be.
store.on("invalidate", async (sid) => {
  if (!io.sockets.adapter.rooms.has(sid)) return;
  const found = await store.get(sid).catch(() => null);
  if (found === null) io.in(sid).disconnectSockets(true);
});

server.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
