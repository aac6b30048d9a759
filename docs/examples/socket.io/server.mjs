// Socket.IO and Express on one session: a socket knows who is logged in, and is closed when its session ends on any process.
// npm install clustered-redis-store express express-session redis socket.io
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { Server } from "socket.io";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
await client.connect();

const store = new ClusteredRedisStore({ client });
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };
const sessions = session({ store, secret, cookie, resave: false, saveUninitialized: false });

const app = express();
app.use(express.json());
app.use(sessions);
app.post("/login", (req, res, next) => {
  const user = req.body?.user;
  if (typeof user !== "string" || user === "") return res.status(400).json({ error: "user is missing" });
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = user; // after you have checked a password
    res.json({ user });
  });
});
app.post("/logout", (req, res, next) => {
  req.session.destroy((error) => {
    if (error) return next(error);
    res.clearCookie("connect.sid").json({});
  });
});

const server = createServer(app);
const io = new Server(server);
/** The room of a session's sockets. Socket.IO also has a room for each socket, named by its id. */
const ROOM = "session:";
const close = (sid) => io.in(ROOM + sid).disconnectSockets(true);
/** Closes the sockets of a session that no longer exists, or that cannot be verified: a client may connect again. */
const verify = async (sid) => {
  const found = await store.get(sid).catch(() => null);
  if (found === null) close(sid);
};

io.engine.use(sessions); // the handshake is an HTTP request
io.use(({ request }, next) => next(request.session.user ? undefined : new Error("not logged in")));
io.on("connection", (socket) => {
  const { session } = socket.request;
  socket.join(ROOM + session.id);
  void verify(session.id); // it may have ended since the handshake
  // The session object is that of the handshake: reload it before you use it, and save what you change.
  socket.on("visit", (answer) => {
    session.reload((error) => {
      if (error) return socket.disconnect(true); // the session has ended
      session.visits = (session.visits ?? 0) + 1;
      session.save((failure) => answer(failure ? { error: "try again" } : { visits: session.visits }));
    });
  });
});
// A session was destroyed, by this process or another one.
store.on("destroyed", close);
// The store is subscribed again: while it was not, sessions may have ended without a message. After a clear, all have.
store.on("live", verifyAll);
store.on("flush", (reason) => reason === "clear" && verifyAll());

async function verifyAll() {
  const rooms = [...io.sockets.adapter.rooms.keys()].filter((room) => room.startsWith(ROOM));
  for (const room of rooms) await verify(room.slice(ROOM.length));
}

server.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
