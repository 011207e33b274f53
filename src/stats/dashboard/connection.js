// The connection to the server, with automatic reconnection.

import { now } from './clock.js';
import { interval, model } from './model.js';

/** Time without a message after which to reconnect. Without an engine there are few messages. */
const SILENCE_MS = 15000;
const SILENCE_NO_ENGINE_MS = 90000;
const CONNECT_TIMEOUT_MS = 10000;
const MAX_DELAY_MS = 30000;
/** A connection that lasted this long resets the reconnect delay. */
const STABLE_MS = 5000;
/** The length of the sparklines, seconds. Five minutes of 500 containers would be 8 MB. */
export const SPARKLINE_S = 120;

const CLOSE_REASONS = { __proto__: null, 1001: 'server stopped', 1008: 'client too slow', 1013: 'too many clients' };

export const connection = {
  // 'connecting', 'live' or 'waiting'.
  phase: 'connecting',
  // Whether it was ever live.
  wasLive: false,
  // Why the last connection ended.
  reason: '',
  failures: 0,
  // When the last message arrived, ms of the monotonic clock, as the others.
  lastMessageAt: 0,
  openedAt: 0,
  retryAt: 0,
};
let [socket, timer] = [null, 0];

/** Callbacks, set by app.js: `message`, and `change` when `connection` has changed. */
export const on = {};

function openSocket() {
  const url = new URL('ws/stats', document.baseURI);
  url.protocol = url.protocol.replace('http', 'ws');
  const opened = new WebSocket(url);
  opened.command = (type, payload) => opened.send(JSON.stringify({ type, payload }));
  return opened;
}

export function connect() {
  clearTimeout(timer);
  socket = openSocket();
  Object.assign(connection, { phase: 'connecting', lastMessageAt: now(), openedAt: 0 });
  socket.onopen = () => {
    Object.assign(connection, { phase: 'live', wasLive: true, reason: '', lastMessageAt: now(), openedAt: now() });
    socket.command('history', { seconds: SPARKLINE_S });
    on.change();
  };
  socket.onmessage = ({ data }) => {
    connection.lastMessageAt = now();
    try {
      on.message(JSON.parse(data));
    } catch (error) {
      console.warn('kentros: cannot process a message', error);
    }
  };
  socket.onclose = ({ code }) => {
    if (!connection.openedAt) checkLogin();
    disconnect(CLOSE_REASONS[code] ?? '');
  };
  on.change();
}

/** Requests five minutes of one project on a second socket, because this one stays subscribed to
 * all projects. */
export function requestHistory(project, callback) {
  const other = openSocket();
  other.onopen = () => {
    other.command('subscribe', project);
    other.command('history', { seconds: 300 });
  };
  other.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'history') callback(message);
    else if (message.type !== 'error') return;
    other.close();
  };
}

/** Reloads the page if the login has expired, for example after a restart of the server. A failed
 * WebSocket does not give the HTTP status. */
async function checkLogin() {
  const response = await fetch('', { method: 'HEAD', redirect: 'manual' }).catch(() => null);
  if (response?.type === 'opaqueredirect' || response?.status === 401) location.reload();
}

function disconnect(reason) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  if (connection.openedAt && now() - connection.openedAt > STABLE_MS) connection.failures = 0;
  // Random jitter, so that a thousand pages do not reconnect at the same time.
  const delay = Math.min(MAX_DELAY_MS, 500 * 2 ** connection.failures) * (0.5 + Math.random() / 2);
  connection.failures = Math.min(connection.failures + 1, 10);
  Object.assign(connection, { phase: 'waiting', reason, retryAt: now() + delay });
  timer = setTimeout(connect, delay);
  on.change();
}

/** Ends a connection that is silent for too long. */
export function checkTimeout() {
  if (connection.phase === 'waiting') return;
  const silence = model.engine?.state === 'connected' ? SILENCE_MS : SILENCE_NO_ENGINE_MS;
  const limit = connection.phase === 'live' ? Math.max(silence, 5 * interval()) : CONNECT_TIMEOUT_MS;
  if (now() - connection.lastMessageAt > limit) disconnect('timed out');
}

export function reconnectNow() {
  if (connection.phase === 'waiting' && !document.hidden) connect();
}
