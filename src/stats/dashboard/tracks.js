// Time series of each container, each project and the total: rates, peaks, and columns of the last
// two minutes, which all end at the same point.

import { now, serverNow, wasSet, wasSetBack } from './clock.js';

const MAX_POINTS = 120;
/** The shortest time between two points, as on the server. */
const MIN_SPACING_MS = 900;
/** Time constant of the smoothed values. */
const SMOOTHING_MS = 5000;

const RATES = Object.entries({ rx: 'network_rx', tx: 'network_tx', read: 'block_read', write: 'block_write' });
const GAUGES = Object.entries({ cpu: 'cpu_percent', memory: 'memory_usage', share: 'memory_percent', pids: 'pids' });

class Track {
  // The last stats or totals.
  last = {};
  // Their timestamp, Unix ms.
  at = 0;
  // When they were taken, ms of the monotonic clock.
  takenAt = 0;
  // Bytes per second; null if not known yet.
  rates = {};
  // Smoothed values, to sort by.
  smooth = {};
  // Highest values.
  peak = {};

  constructor() {
    this.clear();
  }

  clear() {
    Object.assign(this, { cpu: [], memory: [], network: [] });
  }

  /** Updates from stats, or from totals with the sum of their containers' rates, taken at `at`, Unix
   * ms, usually `interval` after the last ones. */
  update(stats, at, interval, rates = {}) {
    const elapsed = at - this.at;
    const takenAt = now() - (stats.age_ms || 0);
    // The engine's clock was set, so the time between the samples is unknown.
    const known = elapsed > 0 && !wasSet(elapsed, takenAt - this.takenAt, interval);
    // If the number of sampled containers has changed, the change in the totals is no rate: use the
    // sum of the rates. Otherwise the totals are better, because they count a shared network once.
    if (stats.sampled !== this.last.sampled) this.rates = rates;
    // A sample that is sent again changes nothing.
    else if (elapsed !== 0) {
      for (const [name, field] of RATES) {
        const increase = (stats[field] ?? NaN) - (this.last[field] ?? NaN);
        // A counter that decreased was reset.
        if (increase >= 0 && known) this.rates[name] = (increase / elapsed) * 1000;
        else if (stats.sampled === undefined) this.rates[name] = null;
      }
    }
    const weight = 1 - Math.exp(-Math.max(0, elapsed) / SMOOTHING_MS);
    const gauges = GAUGES.map(([name, field]) => [name, stats[field]]);
    for (const [name, value] of [...gauges, ...Object.entries(this.rates)]) {
      if (!Number.isFinite(value)) continue;
      this.smooth[name] = (this.smooth[name] ?? value) * (1 - weight) + value * weight;
      this.updatePeak(name, value);
    }
    Object.assign(this, { last: stats, at, takenAt });
  }

  updatePeak(name, value) {
    if (!(value <= this.peak[name])) this.peak[name] = value;
  }

  /** Adds a point with the current values, or a gap if they are not known. */
  addPoint(known) {
    const { last, rates } = this;
    const point = { cpu: last.cpu_percent, memory: last.memory_usage, network: (rates.rx ?? NaN) + (rates.tx ?? NaN) };
    for (const [name, value] of Object.entries(point)) {
      this[name].push(known ? value ?? NaN : NaN);
      if (this[name].length > MAX_POINTS) this[name].shift();
    }
  }
}

export const tracks = { containers: new Map(), projects: new Map(), all: new Track() };
/** The time of each point on the server, Unix ms. */
export let times = [];
let pointAdded = false;

export function trackOf(kind, id) {
  if (!tracks[kind].has(id)) tracks[kind].set(id, new Track());
  return tracks[kind].get(id);
}

const allTracks = () => [...tracks.containers.values(), ...tracks.projects.values(), tracks.all];

/** Adds a point to the containers with these ids, unless the last point is too recent. */
export function addContainerPoints(ids) {
  const at = serverNow();
  if (wasSetBack(times.at(-1), at)) {
    times = [];
    for (const track of allTracks()) track.clear();
  }
  pointAdded = !(at - times.at(-1) < MIN_SPACING_MS);
  if (!pointAdded) return;
  times.push(at);
  if (times.length > MAX_POINTS) times.shift();
  for (const [id, track] of tracks.containers) track.addPoint(ids.has(id));
}

/** Adds the same point to the projects and the total. */
export function addTotalPoints(projects) {
  if (!pointAdded) return;
  for (const [id, track] of tracks.projects) track.addPoint(projects.has(id));
  tracks.all.addPoint(true);
}

/** Converts a container's columns in a `history` payload: counters become bytes per second. */
export function convertColumns(columns, t) {
  const converted = { cpu: columns.cpu_percent, memory: columns.memory_usage };
  for (const [name, field] of RATES) {
    converted[name] = columns[field].map((value, i) => {
      const increase = (value ?? NaN) - (columns[field][i - 1] ?? NaN);
      return increase >= 0 ? increase / (t[i] - t[i - 1]) : NaN;
    });
  }
  return converted;
}

export const toMs = (seconds) => seconds * 1000;

/** Replaces all points by a history that goes further back. */
export function loadHistory({ t, containers }, projectOf) {
  if (t.length <= times.length) return;
  times = t.map(toMs);
  for (const track of allTracks()) track.clear();
  for (const [id, columns] of Object.entries(containers)) {
    const { cpu, memory, rx, tx } = convertColumns(columns, t);
    const loaded = { cpu, memory, network: rx.map((value, i) => value + tx[i]) };
    const track = trackOf('containers', id);
    for (const [name, column] of Object.entries(loaded)) {
      track[name] = column.map((value) => value ?? NaN);
      for (const sum of [trackOf('projects', projectOf(id)), tracks.all]) {
        sum[name] = track[name].map((value, i) => (value || 0) + (sum[name][i] ?? 0));
      }
    }
  }
  for (const track of allTracks()) {
    for (const name of ['cpu', 'memory']) track.updatePeak(name, Math.max(0, ...track[name].filter(Number.isFinite)));
  }
}
