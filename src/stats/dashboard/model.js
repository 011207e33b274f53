// The data: the latest state of each container, and the order of the rows.

import { choices } from './choices.js';
import { now, serverNow, synchronize } from './clock.js';
import { sortOrder } from './columns.js';
import { compare } from './format.js';
import { addContainerPoints, addTotalPoints, loadHistory, trackOf, tracks } from './tracks.js';

/** The project id of containers without a project. */
const STANDALONE = '_standalone';
/** The id of the group of stopped containers. No project has an empty id. */
export const STOPPED = '';
/** The shortest time between changes of the order. A stopped container stays in its group this long,
 * so that a restart does not move it. */
const REORDER_MS = 5000;
const MAX_STOPPED_ROWS = 200;

export const model = {
  engine: null,
  // Whether a project list or stats were received.
  listed: false,
  // The last project list.
  projects: [],
  // Id -> container, with its `project`.
  containers: new Map(),
  // Container id -> stats in the last snapshot.
  stats: new Map(),
  // Project id -> totals.
  totals: new Map(),
  // Totals of all projects.
  grandTotal: {},
  // Container id -> { code, oom } of its last exit.
  exits: new Map(),
  // When the last snapshot arrived, ms of the monotonic clock; 0 before the first.
  snapshotAt: 0,
  // When the server sent it, Unix ms.
  snapshotTime: 0,
};

// Container id -> when it stopped, ms; Infinity while it runs.
const stoppedAt = new Map();
// Container id, or / and project id -> sort value.
let sortValues = new Map();
let sorted = { at: -Infinity, by: '' };
// A history message that arrived before the stats.
let pendingHistory = null;

/** Processes a message. Returns what to repaint: 'layout', 'values', 'status' or null. */
export function receive(message) {
  const { type, project_id: project, payload, timestamp } = message;
  synchronize(message);
  const byId = () => new Map(Object.entries(payload));
  switch (type) {
    case 'project_list':
      Object.assign(model, { projects: payload, listed: true });
      return 'layout';
    case 'container_stats':
      model.snapshotTime = timestamp * 1000;
      updateStats(byId());
      // Custom sources may not publish a project list, so new ids can appear here.
      return now() - sorted.at < REORDER_MS && Object.keys(payload).every((id) => model.containers.has(id)) ? 'values' : 'layout';
    case 'project_stats':
      updateTotals(byId());
      return 'values';
    case 'history':
      pendingHistory = payload;
      loadPendingHistory();
      return 'values';
    case 'project_status':
      applyEvent(project, payload);
      return 'layout';
    case 'engine_status':
      model.engine = payload;
      return 'status';
    default:
      return null;
  }
}

const sampledAt = (row) => Date.parse(row?.timestamp) || 0;

/** Loads the history once stats are known, which have the project of each container. */
function loadPendingHistory() {
  if (!pendingHistory || !model.stats.size) return;
  loadHistory(pendingHistory, (id) => model.stats.get(id)?.project_id ?? STANDALONE);
  pendingHistory = null;
}

function updateStats(stats) {
  Object.assign(model, { stats, snapshotAt: now(), listed: true });
  loadPendingHistory();
  for (const [id, row] of stats) trackOf('containers', id).update(row ?? {}, sampledAt(row) || serverNow(), interval());
  addContainerPoints(stats);
}

/** Adds the fields of two objects. A field that is null in both stays null. */
function add(a = {}, b = {}) {
  const sum = { ...a };
  for (const [field, value] of Object.entries(b)) sum[field] = value === null ? sum[field] ?? null : (sum[field] ?? 0) + value;
  return sum;
}

function updateTotals(totals) {
  // The samples' timestamp, because several messages may arrive at once.
  let [at, host] = [0, 0];
  const limits = {};
  const rates = {};
  for (const [container, row] of model.stats) {
    const id = row?.project_id;
    at = Math.max(at, sampledAt(row));
    host = Math.max(host, row?.online_cpus || 0);
    limits[id] = (limits[id] || 0) + (row?.cpu_limit || 0);
    rates[id] = add(rates[id], tracks.containers.get(container).rates);
  }
  let all = {};
  for (const [id, sums] of totals) {
    all = add(all, sums);
    Object.assign(sums, { online_cpus: host, cpu_limit: Math.min(host, limits[id] || host) });
    trackOf('projects', id).update(sums, at, interval(), rates[id]);
  }
  all.online_cpus = host;
  tracks.all.update(all, at, interval(), Object.values(rates).reduce(add, {}));
  Object.assign(model, { totals, grandTotal: all });
  addTotalPoints(totals);
}

/** Applies an event immediately; the updated project list follows. */
function applyEvent(project, { status, container: { id, state, health, exit_code: code, oom_killed: oom } }) {
  if (status === 'start') model.exits.delete(id);
  else if (Number.isInteger(code) || oom) model.exits.set(id, { code, oom });
  const container = model.projects.find((p) => p.id === project)?.containers.find((c) => c.id === id);
  if (container) Object.assign(container, { state, health, status: '' });
}

export const isOff = ({ state }) => ['exited', 'stopped', 'created', 'dead', 'removing'].includes(state);

/** The health of a running container with a health check, otherwise the state. */
export function stateOf(container) {
  const noHealth = isOff(container) || ['restarting', 'paused'].includes(container.state);
  return String((!noHealth && container.health) || (container.state ?? ''));
}

export function projectName(id) {
  return id === STANDALONE ? 'Standalone' : model.projects.find((p) => p.id === id)?.name || id;
}

/** Collects all containers from the project list and the stats. */
function collectContainers() {
  const { containers, projects, stats, exits } = model;
  containers.clear();
  for (const { id: project, containers: listed } of projects) {
    for (const container of listed) containers.set(container.id, Object.assign(container, { project }));
  }
  for (const [id, row] of stats) {
    if (containers.has(id)) continue;
    const project = row?.project_id || STANDALONE;
    containers.set(id, { id, name: row?.name || id, service_name: row?.service_name, state: '', project });
  }
  for (const map of [exits, stoppedAt, tracks.containers]) {
    for (const id of map.keys()) if (!containers.has(id)) map.delete(id);
  }
}

/** Updates the sort values, but rarely, so that rows do not move all the time. */
function updateSortValues({ key, sortKey }) {
  const by = choices.sort + choices.cpu;
  if (now() - sorted.at >= REORDER_MS || by !== sorted.by) {
    sortValues = new Map();
    sorted = { at: now(), by };
  }
  const textKey = { name: (c) => c.name, id: (c) => c.id, service: (c) => c.service_name, state: stateOf }[key];
  const set = (id, value) => sortValues.has(id) || sortValues.set(id, value);
  for (const [id, container] of model.containers) set(id, sortKey ? sortKey(trackOf('containers', id)) : textKey(container));
  for (const [id, track] of tracks.projects) set(`/${id}`, sortKey ? sortKey(track) : '');
}

/** Returns a comparator of containers, or of groups. Unknown values are smallest. */
function comparator() {
  const { column, descending } = sortOrder();
  const value = (item) => sortValues.get(item.rows ? `/${item.id}` : item.id) || (column.sortKey ? -1 : '');
  const byName = (a, b) => compare(a.name ?? '', b.name ?? '') || compare(a.id, b.id);
  const ascending = column.key === 'name' ? byName
    : column.sortKey ? (a, b) => value(a) - value(b) : (a, b) => compare(value(a), value(b));
  return (a, b) => (descending ? ascending(b, a) : ascending(a, b)) || byName(a, b);
}

/** Whether the container belongs to the group of stopped containers. */
function isStopped(container) {
  const { id } = container;
  if (!isOff(container)) stoppedAt.set(id, Infinity);
  else if (stoppedAt.get(id) === Infinity) stoppedAt.set(id, now());
  return isOff(container) && !(now() - stoppedAt.get(id) < REORDER_MS);
}

/** The states to filter by. */
export const STATES = {
  __proto__: null,
  running: (c) => c.state === 'running' || c.state === '',
  healthy: (c) => stateOf(c) === 'healthy',
  unhealthy: (c) => stateOf(c) === 'unhealthy',
  paused: (c) => c.state === 'paused',
  restarting: (c) => c.state === 'restarting',
  stopped: isOff,
};

function matches(container, words) {
  const { id, name, service_name: service, image, ports, project } = container;
  if (choices.project && project !== choices.project) return false;
  if (STATES[choices.state]?.(container) === false) return false;
  if (!words.length) return true;
  const text = [id, name, service, image, projectName(project), ports].join('\n').toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Returns the groups to show, each with its rows, all sorted. Stopped containers are in a group of
 * their own. */
export function arrange() {
  collectContainers();
  updateSortValues(sortOrder().column);
  const words = choices.q.toLowerCase().split(/\s+/).filter(Boolean);
  const order = comparator();
  const groups = new Map();
  let shown = 0;
  for (const container of model.containers.values()) {
    const stopped = isStopped(container);
    if (!matches(container, words)) continue;
    shown += 1;
    const id = stopped ? STOPPED : choices.grouped ? container.project : STANDALONE;
    const name = stopped ? 'Stopped' : choices.grouped ? projectName(id) : null;
    if (!groups.has(id)) groups.set(id, { id, name, rows: [], more: 0 });
    groups.get(id).rows.push(container);
  }
  for (const group of groups.values()) group.rows.sort(order);
  const stopped = groups.get(STOPPED);
  if (stopped) stopped.more = stopped.rows.splice(MAX_STOPPED_ROWS).length;
  const last = ({ id }) => (id === STOPPED ? 2 : Number(id === STANDALONE && !sortOrder().column.sortKey));
  return { groups: [...groups.values()].sort((a, b) => last(a) - last(b) || order(a, b)), shown };
}

/** The time between two snapshots, ms. */
export const interval = () => model.engine?.interval_ms || 1000;

/** When the values became stale, Unix ms; 0 if they are current. */
export function staleSince() {
  const { engine, snapshotAt, snapshotTime } = model;
  // A page opened later still receives the last snapshot.
  if (snapshotAt && engine && engine.state !== 'connected') return Math.min(snapshotTime, engine.since * 1000 || snapshotTime);
  return now() - snapshotAt > Math.max(3000, 3 * interval()) ? snapshotTime : 0;
}
