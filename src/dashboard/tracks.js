// Each container, each project and all of them over time: rates, peaks, and columns of the last two
// minutes, which end together.

const POINTS = 120;
/** Points are no closer; the server's are not either. */
const SPACING_MS = 900;
/** How fast the figures that the order goes by follow. */
const CALM_MS = 5000;

const RATES = Object.entries({ rx: 'network_rx', tx: 'network_tx', read: 'block_read', write: 'block_write' });
const GAUGES = Object.entries({ cpu: 'cpu_percent', memory: 'memory_usage', share: 'memory_percent', pids: 'pids' });

class Track {
  // The last stats or sums.
  last = {};
  // When the engine took them, ms.
  at = 0;
  // Bytes a second: null where a rate is not known yet.
  now = {};
  // Smoothed figures.
  calm = {};
  // The greatest seen.
  peak = {};

  constructor() {
    this.forget();
  }

  forget() {
    Object.assign(this, { cpu: [], memory: [], network: [] });
  }

  /** Takes in stats, or sums with the sums of their rates, that were read at `at`, ms. */
  take(stats, at, rates = {}) {
    const passed = at - this.at;
    // A sum over others than before tells no rate; where it is over the same, a network that
    // several share counts once. A reading told again changes nothing.
    if (stats.sampled !== this.last.sampled) this.now = rates;
    else if (passed !== 0) {
      for (const [name, field] of RATES) {
        const more = (stats[field] ?? NaN) - (this.last[field] ?? NaN);
        // A counter that fell began anew.
        if (more >= 0 && passed > 0) this.now[name] = (more / passed) * 1000;
        else if (stats.sampled === undefined) this.now[name] = null;
      }
    }
    const weight = 1 - Math.exp(-Math.max(0, passed) / CALM_MS);
    const gauges = GAUGES.map(([name, field]) => [name, stats[field]]);
    for (const [name, value] of [...gauges, ...Object.entries(this.now)]) {
      if (!Number.isFinite(value)) continue;
      this.calm[name] = (this.calm[name] ?? value) * (1 - weight) + value * weight;
      this.raise(name, value);
    }
    Object.assign(this, { last: stats, at });
  }

  raise(name, value) {
    if (!(value <= this.peak[name])) this.peak[name] = value;
  }

  /** Adds a point: of what is known now, or a gap. */
  push(known) {
    const { last, now } = this;
    const point = { cpu: last.cpu_percent, memory: last.memory_usage, network: (now.rx ?? NaN) + (now.tx ?? NaN) };
    for (const [name, value] of Object.entries(point)) {
      this[name].push(known ? value ?? NaN : NaN);
      if (this[name].length > POINTS) this[name].shift();
    }
  }
}

export const tracks = { containers: new Map(), projects: new Map(), all: new Track() };
/** When each point was, ms. */
export let times = [];
let due = false;

export function trackOf(kind, id) {
  if (!tracks[kind].has(id)) tracks[kind].set(id, new Track());
  return tracks[kind].get(id);
}

/** Adds a point of the containers with these ids, where the last is old enough. */
export function pointOfContainers(ids) {
  due = !(Date.now() - times.at(-1) < SPACING_MS);
  if (!due) return;
  times.push(Date.now());
  if (times.length > POINTS) times.shift();
  for (const [id, track] of tracks.containers) track.push(ids.has(id));
}

/** Adds the point of the sums that belong to it. */
export function pointOfSums(projects) {
  if (!due) return;
  for (const [id, track] of tracks.projects) track.push(projects.has(id));
  tracks.all.push(true);
}

/** A container's columns of a `history` payload, counters as bytes a second. */
export function past(columns, t) {
  const made = { cpu: columns.cpu_percent, memory: columns.memory_usage };
  for (const [name, field] of RATES) {
    made[name] = columns[field].map((value, i) => {
      const more = (value ?? NaN) - (columns[field][i - 1] ?? NaN);
      return more >= 0 ? more / (t[i] - t[i - 1]) : NaN;
    });
  }
  return made;
}

/** The times of a history written at `written`, by this machine's clock, ms. */
export function axis(t, written) {
  const shift = Date.now() - written * 1000;
  // The wire has whole seconds.
  return t.map((seconds) => seconds * 1000 + (Math.abs(shift) > 2500 ? shift : 0));
}

/** Takes the past in, where it reaches further back than what came live. */
export function takePast({ t, containers }, written, projectOf) {
  if (t.length <= times.length) return;
  times = axis(t, written);
  for (const track of [...tracks.containers.values(), ...tracks.projects.values(), tracks.all]) track.forget();
  for (const [id, columns] of Object.entries(containers)) {
    const { cpu, memory, rx, tx } = past(columns, t);
    const own = { cpu, memory, network: rx.map((value, i) => value + tx[i]) };
    const track = trackOf('containers', id);
    for (const [name, column] of Object.entries(own)) {
      track[name] = column.map((value) => value ?? NaN);
      for (const sum of [trackOf('projects', projectOf(id)), tracks.all]) {
        sum[name] = track[name].map((value, i) => (value || 0) + (sum[name][i] ?? 0));
      }
    }
  }
  for (const track of [...tracks.containers.values(), ...tracks.projects.values(), tracks.all]) {
    for (const name of ['cpu', 'memory']) track.raise(name, Math.max(0, ...track[name].filter(Number.isFinite)));
  }
}
