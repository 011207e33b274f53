// What is known: the last word on each container, and the order they are shown in.

import { choices } from './choices.js';
import { order } from './columns.js';
import { compare } from './format.js';
import { pointOfContainers, pointOfSums, takePast, trackOf, tracks } from './tracks.js';

/** The id of the containers that belong to no project. */
const STANDALONE = '_standalone';
/** The id of the group of what does not run: no project has none. */
export const STOPPED = '';
/** The order changes no more often, and what stops keeps its place as long: a restart moves nothing. */
const SETTLE_MS = 5000;
const STOPPED_SHOWN = 200;

export const model = {
  engine: null,
  // Whether a project_list or figures ever came.
  listed: false,
  // The last project_list.
  projects: [],
  // Id -> container, with its `project`.
  containers: new Map(),
  // Container id -> its figures in the last snapshot.
  stats: new Map(),
  // Project id -> its sums.
  totals: new Map(),
  // The sums of everything.
  sums: {},
  // Container id -> { code, oom } of its last end.
  deaths: new Map(),
  // When the last snapshot came, ms.
  snapshotAt: 0,
};

// Container id -> when it was seen to stop, ms.
const stoppedAt = new Map();
// Container id, or / and a project's -> what it is ordered by.
let places = new Map();
let placed = { at: 0, by: '' };
// A history that came before the stats.
let early = null;

/** Takes one message in; tells what it touches: 'layout', 'figures', 'status' or nothing. */
export function receive({ type, project_id: project, payload, timestamp }) {
  const byId = () => new Map(Object.entries(payload));
  switch (type) {
    case 'project_list':
      Object.assign(model, { projects: payload, listed: true });
      return 'layout';
    case 'container_stats':
      takeStats(byId());
      // A source of one's own may tell no list.
      return Date.now() - placed.at < SETTLE_MS && Object.keys(payload).every((id) => model.containers.has(id)) ? 'figures' : 'layout';
    case 'project_stats':
      takeTotals(byId());
      return 'figures';
    case 'history':
      early = { payload, timestamp };
      takeEarly();
      return 'figures';
    case 'project_status':
      changeContainer(project, payload);
      return 'layout';
    case 'engine_status':
      model.engine = payload;
      return 'status';
    default:
      return null;
  }
}

const readAt = (row) => Date.parse(row?.timestamp) || 0;

/** Takes the past in once it is known whose it is: the stats tell the project. */
function takeEarly() {
  if (!early || !model.stats.size) return;
  takePast(early.payload, early.timestamp, (id) => model.stats.get(id)?.project_id ?? STANDALONE);
  early = null;
}

function takeStats(stats) {
  Object.assign(model, { stats, snapshotAt: Date.now(), listed: true });
  takeEarly();
  for (const [id, row] of stats) trackOf('containers', id).take(row ?? {}, readAt(row) || model.snapshotAt);
  pointOfContainers(stats);
}

/** Two rows of figures as one; what neither knows stays unknown. */
function sumOf(a = {}, b = {}) {
  const sum = { ...a };
  for (const [field, value] of Object.entries(b)) sum[field] = value === null ? sum[field] ?? null : (sum[field] ?? 0) + value;
  return sum;
}

function takeTotals(totals) {
  // The rows' own time, for messages may come in bunches.
  let [at, host] = [0, 0];
  const limits = {};
  const rates = {};
  for (const [container, row] of model.stats) {
    const id = row?.project_id;
    at = Math.max(at, readAt(row));
    host = Math.max(host, row?.online_cpus || 0);
    limits[id] = (limits[id] || 0) + (row?.cpu_limit || 0);
    rates[id] = sumOf(rates[id], tracks.containers.get(container).now);
  }
  let all = {};
  for (const [id, sums] of totals) {
    all = sumOf(all, sums);
    Object.assign(sums, { online_cpus: host, cpu_limit: Math.min(host, limits[id] || host) });
    trackOf('projects', id).take(sums, at, rates[id]);
  }
  all.online_cpus = host;
  tracks.all.take(all, at, Object.values(rates).reduce(sumOf, {}));
  Object.assign(model, { totals, sums: all });
  pointOfSums(totals);
}

/** Applies an event at once: the list that confirms it follows. */
function changeContainer(project, { status, container: { id, state, health, exit_code: code, oom_killed: oom } }) {
  if (status === 'start') model.deaths.delete(id);
  else if (Number.isInteger(code) || oom) model.deaths.set(id, { code, oom });
  const container = model.projects.find((p) => p.id === project)?.containers.find((c) => c.id === id);
  if (container) Object.assign(container, { state, health, status: '' });
}

export const isOff = ({ state }) => ['exited', 'created', 'dead', 'removing'].includes(state);

/** The health where there is one and the container runs, else the state. */
export function stateOf(container) {
  const plain = isOff(container) || ['restarting', 'paused'].includes(container.state);
  return String((!plain && container.health) || (container.state ?? ''));
}

export function projectName(id) {
  return id === STANDALONE ? 'Standalone' : model.projects.find((p) => p.id === id)?.name || id;
}

/** All containers, of the list and of the figures. */
function collect() {
  const { containers, projects, stats, deaths } = model;
  containers.clear();
  for (const { id: project, containers: listed } of projects) {
    for (const container of listed) containers.set(container.id, Object.assign(container, { project }));
  }
  for (const [id, row] of stats) {
    if (containers.has(id)) continue;
    const project = row?.project_id || STANDALONE;
    containers.set(id, { id, name: row?.name || id, service_name: row?.service_name, state: '', project });
  }
  for (const known of [deaths, stoppedAt, tracks.containers]) {
    for (const id of known.keys()) if (!containers.has(id)) known.delete(id);
  }
}

/** Notes what each is ordered by, of smoothed figures and not too often: an order that can be read. */
function settle({ key, by }) {
  const chosen = choices.sort + choices.cpu;
  if (Date.now() - placed.at >= SETTLE_MS || chosen !== placed.by) {
    places = new Map();
    placed = { at: Date.now(), by: chosen };
  }
  const word = { name: (c) => c.name, id: (c) => c.id, service: (c) => c.service_name, state: stateOf }[key];
  const note = (id, value) => places.has(id) || places.set(id, value);
  for (const [id, one] of model.containers) note(id, by ? by(trackOf('containers', id)) : word(one));
  for (const [id, track] of tracks.projects) note(`/${id}`, by ? by(track) : '');
}

/** How containers, or groups, are ordered; what is not known is least. */
function byPlace() {
  const { column, down } = order();
  const place = (one) => places.get(one.rows ? `/${one.id}` : one.id) || (column.by ? -1 : '');
  const name = (a, b) => compare(a.name ?? '', b.name ?? '') || compare(a.id, b.id);
  const way = column.key === 'name' ? name
    : column.by ? (a, b) => place(a) - place(b) : (a, b) => compare(place(a), place(b));
  return (a, b) => (down ? way(b, a) : way(a, b)) || name(a, b);
}

/** Whether it has been stopped for a while. */
function isApart(container) {
  const { id } = container;
  if (!isOff(container)) stoppedAt.set(id, Infinity);
  else if (stoppedAt.get(id) === Infinity) stoppedAt.set(id, Date.now());
  return isOff(container) && !(Date.now() - stoppedAt.get(id) < SETTLE_MS);
}

/** The states to choose from: what each takes in. */
export const STATES = {
  __proto__: null,
  running: (c) => c.state === 'running' || c.state === '',
  healthy: (c) => stateOf(c) === 'healthy',
  unhealthy: (c) => stateOf(c) === 'unhealthy',
  paused: (c) => c.state === 'paused',
  restarting: (c) => c.state === 'restarting',
  stopped: isOff,
};

function passes(container, words) {
  const { id, name, service_name: service, image, ports, project } = container;
  if (choices.project && project !== choices.project) return false;
  if (STATES[choices.state]?.(container) === false) return false;
  if (!words.length) return true;
  const text = [id, name, service, image, projectName(project), ports].join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The groups to show, each with its rows, all in order; what does not run stands apart. */
export function arrange() {
  collect();
  settle(order().column);
  const words = choices.q.toLowerCase().split(/\s+/).filter(Boolean);
  const ordered = byPlace();
  const groups = new Map();
  let shown = 0;
  for (const container of model.containers.values()) {
    const apart = isApart(container);
    if (!passes(container, words)) continue;
    shown += 1;
    const id = apart ? STOPPED : choices.grouped ? container.project : STANDALONE;
    const name = apart ? 'Stopped' : choices.grouped ? projectName(id) : null;
    if (!groups.has(id)) groups.set(id, { id, name, rows: [], more: 0 });
    groups.get(id).rows.push(container);
  }
  for (const group of groups.values()) group.rows.sort(ordered);
  const stopped = groups.get(STOPPED);
  if (stopped) stopped.more = stopped.rows.splice(STOPPED_SHOWN).length;
  const last = ({ id }) => (id === STOPPED ? 2 : Number(id === STANDALONE && !order().column.by));
  return { groups: [...groups.values()].sort((a, b) => last(a) - last(b) || ordered(a, b)), shown };
}

/** Milliseconds between two snapshots. */
export const interval = () => model.engine?.interval_ms || 1000;

/** Since when what is shown is no longer true, ms; 0 while it is. */
export function staleSince() {
  const { engine, snapshotAt } = model;
  // Who comes later gets the last figures there were.
  if (snapshotAt && engine?.state === 'unreachable') return Math.min(snapshotAt, engine.since * 1000 || snapshotAt);
  return Date.now() - snapshotAt > Math.max(3000, 3 * interval()) ? snapshotAt : 0;
}
