// The clocks. The browser's clock may be wrong, and may be set while the page is open, so the page does
// not use it: durations come from a monotonic clock, times of day from the server's timestamps.

/** A clock that was set back is followed after one to two of these, ms. */
const WINDOW_MS = 30_000;
/** Clocks that differ by less are taken as equal, ms: the server's timestamps are whole seconds, and
 * any message may be late. */
const TOLERANCE_MS = 5000;

/** The monotonic clock, ms. */
export const now = () => performance.now();

/** A clock on another machine, known from the timestamps that arrive. */
class RemoteClock {
  // What to add to `now`: the highest in this window, and in the previous one.
  #offsets = [-Infinity, -Infinity];
  #windowStart = 0;

  /** A timestamp is older than its arrival, by an unknown time. The highest offset is the closest, so
   * late and retained messages have no effect. */
  observe(ms) {
    if (!Number.isFinite(ms)) return;
    if (now() - this.#windowStart > WINDOW_MS) {
      this.#windowStart = now();
      this.#offsets = [-Infinity, this.#offsets[0]];
    }
    this.#offsets[0] = Math.max(this.#offsets[0], ms - now());
  }

  /** The time on that machine, Unix ms; -Infinity if unknown. */
  now() {
    return now() + Math.max(...this.#offsets);
  }
}

const [server, engine] = [new RemoteClock(), new RemoteClock()];

/** Sets the clocks by a message. */
export function synchronize({ type, payload, timestamp }) {
  server.observe(timestamp * 1000);
  if (type !== 'container_stats') return;
  for (const row of Object.values(payload)) engine.observe(Date.parse(row?.timestamp) + row?.age_ms);
}

/** The time on the server, Unix ms; -Infinity before the first message. */
export const serverNow = () => server.now();

/** The age of a time from the engine, ms. The engine may run on another machine with another clock:
 * the timestamps of its samples show it. Without samples, the server's clock has to do. */
export const engineAge = (ms) => (Number.isFinite(engine.now()) ? engine : server).now() - ms;

/** Converts a time from the engine to the server's clock, so that all times on the page agree. */
export function fromEngine(ms) {
  const skew = serverNow() - ms - engineAge(ms);
  return Math.abs(skew) > TOLERANCE_MS ? ms + Math.round(skew / 1000) * 1000 : ms;
}

/** Whether a clock was set back if it shows `at` after it has shown `last`. */
export const wasSetBack = (last, at) => last - at > TOLERANCE_MS;

/** Whether a clock was set if it shows that `elapsed` ms have passed, and the monotonic clock shows
 * `measured`. A message that is late makes `measured` too long, but does not shorten `interval`, the
 * time between two samples. */
export const wasSet = (elapsed, measured, interval) =>
  elapsed > measured + TOLERANCE_MS || elapsed < Math.min(measured, interval) * 0.6;

/** Formats a time on the server in the browser's time zone, with the date if it is not today. */
export function timeOfDay(ms) {
  const [at, today] = [new Date(ms), new Date(serverNow())];
  const time = at.toLocaleTimeString([], { hour12: false });
  return at.toDateString() === today.toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}
