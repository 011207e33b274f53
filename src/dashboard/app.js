// The page of kentros: it shows what ws/stats tells, as it comes.
// Four sections: format (values to text), model (what is known), connection, view.
'use strict';

// ---------------------------------------------------------------- format

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Go's %.{digits}g for what the docker CLI prints with it: an exact half goes to the even digit. */
function significant(x, digits) {
  const longer = x.toPrecision(digits + 1);
  const half = Number(longer) === x && /[02468]\.?5$/.test(longer)
    && /^0*$/.test(x.toPrecision(60).slice(longer.length));
  return Number(half ? longer.slice(0, -1) : x.toPrecision(digits));
}

function size(bytes, base, units, digits) {
  let unit = 0;
  while (bytes >= base && unit < units.length - 1) {
    bytes /= base;
    unit += 1;
  }
  let shown = significant(bytes, digits);
  // Where the CLI writes 1e+03kB, this is 1MB.
  if (base === 1000 && shown >= base && unit < units.length - 1) {
    shown /= base;
    unit += 1;
  }
  return shown + units[unit];
}

const binary = (bytes) => size(bytes, 1024, BINARY, 4);
const decimal = (bytes) => size(bytes, 1000, DECIMAL, 3);
const percent = (x) => `${x.toFixed(2)}%`;
const count = String;

/** A figure as text: `--` where the engine reports none, nothing where there is no such figure. */
function figureText(value, format) {
  if (value === undefined) return '';
  return Number.isFinite(value) ? format(value) : '--';
}

/** A time of day, with its date where that is not today. */
function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString([], { hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

/** Why a figure is missing, in words; the keys are those of the wire. A phone shows what is before the colon. */
const REASONS = {
  __proto__: null,
  memory_cgroup_disabled: 'no memory cgroup: it is off in the kernel',
  host_network: 'host network: the engine does not count it',
  first_sample: 'first sample: a rate needs two',
  not_running: 'not running',
  engine_error: 'engine error: no usable answer',
};

const { compare } = new Intl.Collator(undefined, { numeric: true });

// ---------------------------------------------------------------- model

/** The id of the containers that belong to no project. */
const STANDALONE = '_standalone';
/** A container that stops leaves its place after this long, so that a restart moves nothing. */
const SETTLE_MS = 5000;
/** Stopped containers shown of one project. */
const STOPPED_SHOWN = 50;

const model = {
  engine: null,
  listed: false, // whether a project_list or figures ever came
  projects: [], // the last project_list
  stats: new Map(), // container id -> its figures in the last snapshot
  totals: new Map(), // project id -> its sums
  loose: '', // looseIds() when rows were last arranged
  snapshotAt: 0, // when the last snapshot came, ms
  deaths: new Map(), // container id -> { code, oom } of its last end
  stoppedAt: new Map(), // container id -> when it was first seen stopped, ms
};

const isOff = (container) => ['exited', 'created', 'dead', 'removing'].includes(container.state);

/** The ids that have figures and are in no list: a source of one's own may tell no list. */
function looseIds() {
  const listed = new Set(model.projects.flatMap((p) => p.containers.map((c) => c.id)));
  return [...model.stats.keys()].filter((id) => !listed.has(id)).join();
}

/** Takes one message in; tells what it touches: 'layout', 'figures', 'status' or nothing. */
function receive({ type, project_id: project, payload }) {
  switch (type) {
    case 'project_list':
      model.projects = payload;
      model.listed = true;
      return 'layout';
    case 'container_stats': {
      model.stats = new Map(Object.entries(payload));
      model.snapshotAt = Date.now();
      model.listed = true;
      return looseIds() === model.loose ? 'figures' : 'layout';
    }
    case 'project_stats':
      model.totals = new Map(Object.entries(payload));
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

/** Applies an event at once: the list that confirms it follows. */
function changeContainer(project, { status, container: news }) {
  if (status === 'start') model.deaths.delete(news.id);
  else if (Number.isInteger(news.exit_code) || news.oom_killed) {
    model.deaths.set(news.id, { code: news.exit_code, oom: news.oom_killed });
  }
  const container = model.projects.find((p) => p.id === project)?.containers.find((c) => c.id === news.id);
  if (!container) return;
  container.state = news.state;
  container.health = news.health;
  container.status = '';
}

/** The groups to show, in order: projects by name, in each what runs by name, then what is stopped. */
function arrange() {
  const groups = new Map();
  const group = (id, name) => {
    if (!groups.has(id)) groups.set(id, { id, name, running: [], stopped: [], more: 0 });
    return groups.get(id);
  };
  const now = Date.now();
  const seen = new Set();
  for (const project of model.projects) {
    const name = project.id === STANDALONE ? 'Standalone' : project.name || project.id;
    const into = group(project.id, name);
    for (const container of project.containers) {
      seen.add(container.id);
      into[isApart(container, now) ? 'stopped' : 'running'].push(container);
    }
  }
  model.loose = looseIds();
  for (const [id, row] of model.stats) {
    if (seen.has(id)) continue;
    seen.add(id);
    const project = row?.project_id || STANDALONE;
    group(project, project === STANDALONE ? 'Standalone' : project).running.push({
      id, name: row?.name || id, service_name: row?.service_name, state: '',
    });
  }
  for (const known of [model.deaths, model.stoppedAt]) {
    for (const id of known.keys()) if (!seen.has(id)) known.delete(id);
  }
  const byName = (a, b) => compare(a.name, b.name) || compare(a.id, b.id);
  for (const one of groups.values()) {
    one.running.sort(byName);
    one.stopped.sort(byName);
    one.more = one.stopped.splice(STOPPED_SHOWN).length;
  }
  const last = (one) => Number(one.id === STANDALONE);
  return [...groups.values()].sort((a, b) => last(a) - last(b) || byName(a, b));
}

function isApart(container, now) {
  if (!isOff(container)) {
    model.stoppedAt.set(container.id, 0);
    return false;
  }
  const since = model.stoppedAt.get(container.id);
  if (since === undefined) model.stoppedAt.set(container.id, -1); // was stopped when first seen
  else if (since === 0) {
    model.stoppedAt.set(container.id, now);
    setTimeout(() => touch('layout'), SETTLE_MS + 100);
    return false;
  } else if (now - since < SETTLE_MS) return false;
  return true;
}

/** Milliseconds between two snapshots. */
const interval = () => model.engine?.interval_ms || 1000;

/** Since when what is shown is no longer true, ms; 0 while it is. */
function staleSince() {
  const { engine, snapshotAt } = model;
  if (!snapshotAt) return 0;
  // Who comes later gets the last figures there were.
  if (engine?.state === 'unreachable') return Math.min(snapshotAt, engine.since * 1000 || snapshotAt);
  return Date.now() - snapshotAt > Math.max(3000, 3 * interval()) ? snapshotAt : 0;
}

// ---------------------------------------------------------------- connection

/** Silence that ends a connection: snapshots come far more often; without an engine little comes. */
const SILENCE_MS = 15000;
const SILENCE_NO_ENGINE_MS = 90000;
const OPEN_WITHIN_MS = 10000;
const LONGEST_WAIT_MS = 30000;
/** A connection that lasted this long was a good one: the waits begin anew. */
const GOOD_MS = 5000;

const WHY = { __proto__: null, 1001: 'server stopped', 1008: 'too slow', 1013: 'server full' };

const link = {
  phase: 'connecting', // or 'live', 'waiting'
  was: false, // whether it was ever live
  why: '',
  failures: 0,
  heard: 0, // when it last said something, ms
  opened: 0,
  retryAt: 0,
  timer: 0,
  socket: null,
};

function connect() {
  clearTimeout(link.timer);
  const url = new URL('ws/stats', document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = '';
  url.hash = '';
  const socket = new WebSocket(url);
  Object.assign(link, { phase: 'connecting', socket, heard: Date.now(), opened: 0 });
  socket.onopen = () => {
    Object.assign(link, { phase: 'live', was: true, why: '', heard: Date.now(), opened: Date.now() });
    touch('status');
  };
  socket.onmessage = ({ data }) => {
    link.heard = Date.now();
    let touched = null;
    try {
      touched = receive(JSON.parse(data));
    } catch (error) {
      console.warn('kentros: a message that cannot be read', error);
    }
    if (touched) touch(touched);
  };
  socket.onclose = ({ code }) => disconnected(WHY[code] ?? '');
  touch('status');
}

function disconnected(why) {
  const { socket } = link;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  if (link.opened && Date.now() - link.opened > GOOD_MS) link.failures = 0;
  // Half of the wait is chance, so that a thousand pages do not come back in the same instant.
  const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** link.failures) * (0.5 + Math.random() / 2);
  link.failures = Math.min(link.failures + 1, 10);
  Object.assign(link, { phase: 'waiting', why, retryAt: Date.now() + wait });
  link.timer = setTimeout(connect, wait);
  touch('status');
}

/** Ends a connection that neither speaks nor closes. */
function watch() {
  if (link.phase === 'waiting') return;
  const silence = Date.now() - link.heard;
  const most = model.engine?.state === 'connected' ? SILENCE_MS : SILENCE_NO_ENGINE_MS;
  if (silence > (link.phase === 'live' ? Math.max(most, 5 * interval()) : OPEN_WITHIN_MS)) {
    disconnected('no answer');
  }
}

function hurry() {
  if (link.phase === 'waiting' && !document.hidden) connect();
}

// ---------------------------------------------------------------- view

/** The figures of a row. `part` fills the bar, from `high` on in alarm; two fields stand left and right of a slash. */
const FIGURES = [
  { key: 'cpu', head: 'CPU %', fields: ['cpu_percent'], format: percent,
    part: (s) => s.cpu_percent / 100 / (s.cpu_limit || s.online_cpus || 1),
    hint: (s) => (s.cpu_limit ? `of ${significant(s.cpu_limit, 3)} ${s.cpu_limit === 1 ? 'core' : 'cores'}` : '') },
  { key: 'memory', head: 'MEM USAGE / LIMIT', fields: ['memory_usage', 'memory_limit'], format: binary },
  { key: 'share', head: 'MEM %', fields: ['memory_percent'], format: percent,
    part: (s) => s.memory_percent / 100, high: 0.9 },
  { key: 'network', head: 'NET I/O', fields: ['network_rx', 'network_tx'], format: decimal },
  { key: 'block', head: 'BLOCK I/O', fields: ['block_read', 'block_write'], format: decimal },
  { key: 'pids', head: 'PIDS', fields: ['pids'], format: count },
];

const HEADS = [['id', 'CONTAINER ID'], ['name', 'NAME'], ['service', 'SERVICE'], ['state', 'STATE']];

const $ = (id) => document.getElementById(id);

function element(tag, className = '', role = '') {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (role) made.setAttribute('role', role);
  return made;
}

/** Adds an empty text to `parent`; `write` fills it. */
const textIn = (parent) => parent.appendChild(document.createTextNode(''));

/** Everything shown passes here, as text, and only where it differs. */
function write(node, text) {
  if (node.data !== text) node.data = text;
}

function writeAttribute(node, name, value) {
  if (!value) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function writeHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/** Puts `nodes`, and nothing else after `fixed` first ones, into `parent`, moving as few as it can. */
function place(parent, nodes, fixed = 0) {
  const wanted = new Set(nodes);
  for (const node of [...parent.children].slice(fixed)) if (!wanted.has(node)) node.remove();
  let at = parent.children[fixed] ?? null;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}

/** A cell for one of FIGURES. */
function figureCell(figure) {
  const cell = element('td', `figure ${figure.key}`, 'cell');
  cell.dataset.label = figure.head.replace(/ (USAGE.*|I\/O)$/, ''); // shown where there are no heads
  const bar = figure.part && cell.appendChild(element('i', 'meter'));
  const left = textIn(cell.appendChild(element('span', 'left')));
  const pair = figure.fields.length > 1;
  const slash = pair && textIn(cell.appendChild(element('span', 'slash')));
  const right = pair && textIn(cell.appendChild(element('span', 'right')));
  let why = '';
  let filled = -1;

  return { cell, show(stats, missing) {
    const [a, b] = figure.fields.map((field) => figureText(stats[field], figure.format));
    const none = a === '--' && (!pair || b === '--');
    write(left, a);
    if (pair) {
      write(slash, none || !b ? '' : ' / ');
      write(right, none ? '' : b);
    }
    if (bar) {
      const part = Math.min(1, Math.round(figure.part(stats) * 100) / 100 || 0);
      if (part !== filled) {
        filled = part;
        bar.style.setProperty('--part', part);
        bar.classList.toggle('high', part >= figure.high);
      }
    }
    const reason = a === '--' || b === '--' ? missing(figure.fields) : '';
    const hint = reason || figure.hint?.(stats) || '';
    if (hint !== why) {
      why = hint;
      writeAttribute(cell, 'title', hint);
      writeAttribute(cell, 'aria-label', reason && `${a}, ${reason}`);
      writeAttribute(cell, 'data-why', reason.split(':')[0]);
    }
  } };
}

/** A row for one container. */
function containerRow() {
  const node = element('tr', 'container', 'row');
  const cell = (tag, key, role) => node.appendChild(element(tag, key, role));
  const idCell = cell('td', 'id', 'cell');
  const nameCell = cell('th', 'name', 'rowheader');
  const serviceCell = cell('td', 'service', 'cell');
  const stateCell = cell('td', 'state', 'cell');
  nameCell.scope = 'row';
  const figures = FIGURES.map(figureCell);
  node.append(...figures.map((f) => f.cell));
  const noteCell = cell('td', 'note', 'cell');
  noteCell.colSpan = FIGURES.length;
  const [id, name, service, state, note] = [idCell, nameCell, serviceCell, stateCell, noteCell].map(textIn);
  const idle = {};
  for (const figure of FIGURES) for (const field of figure.fields) idle[field] = null;

  return {
    node,
    /** Who it is and how it is: changes seldom. */
    describe(container) {
      const text = (value) => (value === null || value === undefined ? '' : String(value));
      const label = text(container.name) || container.id.slice(0, 12);
      write(id, container.id.slice(0, 12));
      write(name, label);
      write(service, text(container.service_name));
      writeAttribute(idCell, 'title', container.id);
      writeAttribute(nameCell, 'title', [label, container.image, ...(container.ports ?? [])].filter(Boolean).join('\n'));
      writeAttribute(serviceCell, 'title', text(container.service_name));
      writeAttribute(stateCell, 'title', text(container.status));
      const off = isOff(container) || container.state === 'restarting';
      const plain = off || container.state === 'paused' || !container.health;
      write(state, text(plain ? container.state : container.health));
      const alarm = (!plain && container.health === 'unhealthy') || ['restarting', 'dead'].includes(container.state);
      writeAttribute(node, 'data-mood', alarm ? 'alarm' : off || container.state === 'paused' ? 'off' : 'good');
      node.classList.toggle('off', off);
      write(note, off ? ending(container) : '');
    },
    /** Its figures: change with each snapshot. */
    show(stats) {
      const off = node.classList.contains('off');
      const old = !off && stats?.age_ms > Math.max(2000, 1.5 * interval());
      node.classList.toggle('stale', old);
      writeAttribute(node, 'title', old ? `this sample is ${(stats.age_ms / 1000).toFixed(1)} s old` : '');
      if (off) return;
      const missing = (fields) => {
        const reason = fields.map((field) => stats?.unavailable?.[field]).find(Boolean);
        if (reason) return REASONS[reason] ?? String(reason);
        if (stats) return 'not reported';
        return model.snapshotAt ? 'no sample' : 'waiting for the first sample';
      };
      for (const figure of figures) figure.show(stats ?? idle, missing);
    },
  };
}

/** How a container ended: `Exited (137), out of memory`. The engine's "3 hours ago" would not stay true. */
function ending(container) {
  const death = model.deaths.get(container.id);
  const told = String(container.status || '').replace(/ (Less than|About|\d+) .*ago$/, '');
  const code = death && Number.isInteger(death.code) ? ` (${death.code})` : '';
  const words = told || container.state.replace(/^./, (c) => c.toUpperCase()) + code;
  return death?.oom ? `${words}, out of memory` : words;
}

/** The rows of one project: its own with the sums, its containers', and how many more there are. */
function projectGroup() {
  const node = element('tbody', '', 'rowgroup');
  const head = element('tr', 'project', 'row');
  const title = head.appendChild(element('th', 'title', 'rowheader'));
  title.scope = 'rowgroup';
  const heading = title.appendChild(element('span', 'heading', 'heading'));
  heading.setAttribute('aria-level', '2');
  const name = textIn(heading);
  const counts = textIn(title.appendChild(element('span', 'quiet')));
  const figures = FIGURES.map(figureCell);
  head.append(...figures.map((f) => f.cell));
  const moreRow = element('tr', 'more', 'row');
  const more = textIn(moreRow.appendChild(element('td', '', 'cell')));

  return {
    node,
    arrange(group, rowOf) {
      const containers = [...group.running, ...group.stopped];
      write(name, group.name);
      writeAttribute(heading, 'title', group.name);
      write(more, `and ${group.more} more that do not run`);
      place(node, [head, ...containers.map(rowOf), ...(group.more ? [moreRow] : [])]);
    },
    show(group) {
      const sums = model.totals.get(group.id);
      const total = group.running.length + group.stopped.length + group.more;
      const words = sums
        ? [`${sums.sampled} of ${sums.running} sampled`, sums.containers > sums.running ? `${sums.containers - sums.running} not running` : '']
        : [`${total} ${total === 1 ? 'container' : 'containers'}`];
      write(counts, words.filter(Boolean).join(', '));
      for (const figure of figures) figure.show(sums ?? {}, () => 'no sample');
    },
  };
}

/** The strip of sums over everything. */
const SUMMARY = [
  ['Running', (s) => `${s.running} of ${s.containers}`],
  ['CPU', (s) => figureText(s.cpu_percent, percent)],
  ['Memory', (s) => figureText(s.memory_usage, binary)],
  ['Net in / out', (s) => `${figureText(s.network_rx, decimal)} / ${figureText(s.network_tx, decimal)}`],
  ['Block read / write', (s) => `${figureText(s.block_read, decimal)} / ${figureText(s.block_write, decimal)}`],
  ['PIDs', (s) => figureText(s.pids, count)],
].map(([label, text]) => {
  const item = element('div');
  item.appendChild(element('dt')).textContent = label;
  return { item, text, node: textIn(item.appendChild(element('dd'))) };
});

function sumOfAll() {
  const sums = { containers: 0, running: 0 };
  for (const field of FIGURES.flatMap((figure) => figure.fields)) sums[field] = null;
  for (const totals of model.totals.values()) {
    for (const field of Object.keys(sums)) {
      if (Number.isFinite(totals[field])) sums[field] += totals[field];
    }
  }
  return sums;
}

const view = {
  groups: [],
  bodies: new Map(), // project id -> its group of rows
  rows: new Map(), // container id -> its row
  touched: new Set(['layout', 'figures', 'status']),
  unpainted: [], // [container id, row] whose figures wait for a frame
  asked: false,
};

/** What painting rows may take of one frame: the rest follows in the next. */
const SLICE_MS = 4;

/** Notes what changed; it is painted with the next frame, and not while nobody can see it. */
function touch(what) {
  view.touched.add(what);
  askFrame();
}

function askFrame() {
  if (view.asked || document.hidden) return;
  view.asked = true;
  requestAnimationFrame(paint);
}

function paint() {
  view.asked = false;
  const { touched } = view;
  view.touched = new Set();
  if (touched.has('layout')) paintLayout();
  if (touched.has('layout') || touched.has('figures')) paintFigures();
  if (touched.size) paintStatus();
  const end = performance.now() + SLICE_MS;
  while (view.unpainted.length && performance.now() < end) {
    const [id, row] = view.unpainted.pop();
    row.show(model.stats.get(id));
  }
  if (view.unpainted.length) askFrame();
}

function paintLayout() {
  view.groups = arrange();
  const [bodies, rows] = [new Map(), new Map()];
  for (const group of view.groups) {
    const body = view.bodies.get(group.id) ?? projectGroup();
    bodies.set(group.id, body);
    body.arrange(group, (container) => {
      const row = view.rows.get(container.id) ?? containerRow();
      rows.set(container.id, row);
      row.describe(container);
      return row.node;
    });
  }
  Object.assign(view, { bodies, rows });
  place($('table'), [...bodies.values()].map((body) => body.node), 1);
}

function paintFigures() {
  for (const group of view.groups) view.bodies.get(group.id).show(group);
  view.unpainted = [...view.rows].reverse();
  const sums = sumOfAll();
  for (const { node, text } of SUMMARY) write(node, text(sums));
}

/** The line at the top, and what stands in place of rows where there are none. */
function paintStatus() {
  const { engine } = model;
  const gone = engine?.state === 'unreachable';
  const name = engine?.engine || 'Docker Engine';
  const since = engine?.since ? `since ${clock(engine.since * 1000)}` : '';
  const stale = staleSince();
  const lost = link.phase !== 'live';

  const [text, mood] = linkText(stale, gone);
  write(texts.link, text);
  write(texts.late, stale && lost ? `stale since ${clock(stale)}` : '');
  writeAttribute($('link'), 'data-mood', mood);
  writeAttribute($('link'), 'title', link.why);
  write(texts.spoken, lost ? (link.was ? 'Connection lost, reconnecting' : '') : gone ? `${name} unreachable` : 'Connected');

  write(texts.engine, !engine ? '' : gone ? `${name} unreachable` : [name, engine.version].filter(Boolean).join(' '));
  const demo = engine?.mode === 'demo';
  const pace = `every ${significant(interval() / 1000, 3)} s`;
  write(texts.engineMore, engine && !gone ? [demo ? '' : engine.mode, pace, since].filter(Boolean).join(', ') : since);
  writeAttribute($('engine').parentElement, 'title', engine?.api_version ? `API ${engine.api_version}` : '');
  writeHidden($('demo'), !demo);
  const title = demo ? 'kentros (demo)' : 'kentros';
  if (document.title !== title) document.title = title;

  const rows = view.rows.size > 0;
  const trouble = gone ? `${name} unreachable: ${engine.error || 'no reason given'}`
    : rows && !model.snapshotAt && !lost ? 'Waiting for the first sample' : '';
  write(texts.trouble, rows ? trouble : '');
  writeHidden($('trouble'), !rows || !trouble);
  $('trouble').classList.toggle('alarm', gone);
  writeHidden($('summary'), !rows || !model.totals.size || Boolean(trouble));
  document.body.classList.toggle('stale', Boolean(stale) || (rows && (lost || gone)));

  writeHidden($('table'), !rows);
  writeHidden($('empty'), rows);
  if (rows) return;
  const [heading, words] = gone ? [`${name} unreachable`, [engine.error, since].filter(Boolean).join('\n')]
    : lost ? [link.failures ? 'No connection to the server' : 'Connecting', link.why]
      : model.listed ? ['No containers yet', 'They appear here as soon as there is one.']
        : ['Waiting for the first sample', ''];
  // The very first moments need no words.
  if (!gone && !model.listed && performance.now() < 500) return;
  write(texts.emptyTitle, heading);
  write(texts.emptyText, words);
}

function linkText(stale, gone) {
  if (link.phase === 'waiting') {
    return [`Reconnecting in ${Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000))} s`, 'alarm'];
  }
  if (link.phase === 'connecting') return link.was ? ['Reconnecting', 'alarm'] : ['Connecting', 'wait'];
  if (stale) return [`Stale since ${clock(stale)}`, 'alarm'];
  return gone ? ['Connected', 'wait'] : ['Live', 'good'];
}

const texts = {
  link: textIn($('link-text')),
  late: textIn($('link-late')),
  spoken: textIn($('spoken')),
  engine: textIn($('engine')),
  engineMore: textIn($('engine-more')),
  trouble: textIn($('trouble')),
  emptyTitle: textIn($('empty-title')),
  emptyText: textIn($('empty-text')),
};

function start() {
  $('summary').append(...SUMMARY.map(({ item }) => item));
  for (const [key, head] of [...HEADS, ...FIGURES.map((f) => [`figure ${f.key}`, f.head])]) {
    const cell = $('columns').appendChild(element('th', key, 'columnheader'));
    cell.scope = 'col';
    // The slash of a head stands above the slashes of its figures.
    head.split(/( ?\/ ?)/).forEach((text, i) => {
      cell.appendChild(element('span', ['left', 'slash', 'right'][i])).textContent = text;
    });
  }
  document.addEventListener('visibilitychange', () => {
    hurry();
    touch('status');
  });
  addEventListener('online', hurry);
  setInterval(() => {
    watch();
    touch('status');
  }, 1000);
  connect();
}

start();
