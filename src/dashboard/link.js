// The connection to the server: it comes back by itself.

import { interval, model } from './model.js';

/** Silence that ends a connection: snapshots come far more often; without an engine little comes. */
const SILENCE_MS = 15000;
const SILENCE_NO_ENGINE_MS = 90000;
const OPEN_WITHIN_MS = 10000;
const LONGEST_WAIT_MS = 30000;
/** A connection that lasted this long was a good one: the waits begin anew. */
const GOOD_MS = 5000;
/** What the lines in the rows show, seconds. Five minutes of 500 containers would be 8 MB. */
export const PAST_S = 120;

const WHY = { __proto__: null, 1001: 'server stopped', 1008: 'too slow', 1013: 'server full' };

export const link = {
  // Or 'live', 'waiting'.
  phase: 'connecting',
  // Whether it was ever live.
  was: false,
  why: '',
  failures: 0,
  // When it last said something, ms.
  heard: 0,
  opened: 0,
  retryAt: 0,
};
let [socket, timer] = [null, 0];

/** The page's part: what to do with a message, and with a change of `link`. */
export const heed = {};

function dial() {
  const url = new URL('ws/stats', document.baseURI);
  url.protocol = url.protocol.replace('http', 'ws');
  const made = new WebSocket(url);
  made.ask = (type, payload) => made.send(JSON.stringify({ type, payload }));
  return made;
}

export function connect() {
  clearTimeout(timer);
  socket = dial();
  Object.assign(link, { phase: 'connecting', heard: Date.now(), opened: 0 });
  socket.onopen = () => {
    Object.assign(link, { phase: 'live', was: true, why: '', heard: Date.now(), opened: Date.now() });
    socket.ask('history', { seconds: PAST_S });
    heed.change();
  };
  socket.onmessage = ({ data }) => {
    link.heard = Date.now();
    try {
      heed.message(JSON.parse(data));
    } catch (error) {
      console.warn('kentros: a message that cannot be read', error);
    }
  };
  socket.onclose = ({ code }) => {
    if (!link.opened) knock();
    disconnected(WHY[code] ?? '');
  };
  heed.change();
}

/** Asks for five minutes of one project, on a socket of its own: this one shall miss nothing. */
export function askPast(project, tell) {
  const other = dial();
  other.onopen = () => {
    other.ask('subscribe', project);
    other.ask('history', { seconds: 300 });
  };
  other.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'history') tell(message);
    else if (message.type !== 'error') return;
    other.close();
  };
}

/** A socket does not say why it was refused. Where the login is no longer good, as after a restart
 * of the server, the page itself leads to the form. */
async function knock() {
  const answer = await fetch('', { method: 'HEAD', redirect: 'manual' }).catch(() => null);
  if (answer?.type === 'opaqueredirect' || answer?.status === 401) location.reload();
}

function disconnected(why) {
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  if (link.opened && Date.now() - link.opened > GOOD_MS) link.failures = 0;
  // Half of the wait is chance, so that a thousand pages do not come back in the same instant.
  const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** link.failures) * (0.5 + Math.random() / 2);
  link.failures = Math.min(link.failures + 1, 10);
  Object.assign(link, { phase: 'waiting', why, retryAt: Date.now() + wait });
  timer = setTimeout(connect, wait);
  heed.change();
}

/** Ends a connection that neither speaks nor closes. */
export function watch() {
  if (link.phase === 'waiting') return;
  const most = model.engine?.state === 'connected' ? SILENCE_MS : SILENCE_NO_ENGINE_MS;
  const limit = link.phase === 'live' ? Math.max(most, 5 * interval()) : OPEN_WITHIN_MS;
  if (Date.now() - link.heard > limit) disconnected('no answer');
}

export function hurry() {
  if (link.phase === 'waiting' && !document.hidden) connect();
}
