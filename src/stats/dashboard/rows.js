// The rows of the table and the summary above it. Elements are created once and then updated.

import { engineAge } from './clock.js';
import { TEXT_COLUMNS, VALUE_COLUMNS, isShown } from './columns.js';
import { SPARKLINE_S } from './connection.js';
import { blank, button, h, plot, replaceChildren, write, writeAttribute } from './dom.js';
import { REASONS, duration } from './format.js';
import { STOPPED, interval, isOff, model, projectName, stateOf } from './model.js';
import { times, tracks } from './tracks.js';

/** A cell of one of VALUE_COLUMNS: two lines of one or two values, and a sparkline or a bar. */
function valueCell({ key, label, fields, spark, floor, text, fraction }, tag = 'td') {
  const cell = h(tag, `figure ${key}`);
  // Shown on narrow screens, which have no column headers.
  cell.dataset.label = label;
  const line = spark && plot(100, 28);
  if (line) {
    line.node.classList.add('spark');
    cell.append(line.node);
  }
  const [above, below] = ['', 'low '].map((low) => ['left', 'slash', 'right'].slice(0, fields.length * 2 - 1).map((name) => {
    const value = blank();
    cell.append(h('span', low + name, value));
    return value;
  }));
  const bar = fraction && cell.appendChild(h('i', 'meter'));
  let [shownReason, filled] = ['', -1];
  const show = ([left, slash, right], a = '', b = '') => {
    write(left, a);
    if (!right) return;
    // One -- stands for both values.
    const single = !b || (a === '--' && b === '--');
    write(slash, single ? '' : ' / ');
    write(right, single ? '' : b);
  };

  return { cell, show(stats, track, missing) {
    const [a, b, c, d] = text(stats, track);
    show(above, a, b);
    // If the counters are missing, so are the rates above, which show `--`.
    const [e, f] = c === '--' ? [] : [c, d];
    // The summary has one column for both values.
    if (tag === 'dd' && f) show(below, `${e} / ${f}`);
    else show(below, e, f);
    const now = bar && Math.min(1, Math.round(fraction(stats) * 100) / 100 || 0);
    if (bar && now !== filled) {
      filled = now;
      bar.style.setProperty('--part', now);
      bar.classList.toggle('high', now >= 0.9);
    }
    const reason = a === '--' || b === '--' ? missing(fields) : '';
    if (reason === shownReason) return;
    shownReason = reason;
    writeAttribute(cell, 'title', reason);
    writeAttribute(cell, 'aria-label', reason && `${a}, ${reason}`);
    writeAttribute(cell, 'data-why', reason.split(':')[0]);
  }, draw(track) {
    // Some space at the top, so that the peak is not cut off.
    line?.draw([track[spark]], times, SPARKLINE_S * 1000, 1.1 * track[spark].reduce((x, y) => (y > x ? y : x), floor));
  } };
}

/** Rows that are visible, or nearly. Only these are updated and drawn with each snapshot. */
export const visibleRows = new Set();
/** Callbacks, set by app.js: `visible` when a row becomes visible. */
export const on = {};
// Element -> row.
const rowOf = new WeakMap();
const observer = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const row = rowOf.get(target);
    visibleRows[isIntersecting ? 'add' : 'delete'](row);
    if (isIntersecting) on.visible(row);
  }
}, { rootMargin: '100px' });

function observe(node, row) {
  rowOf.set(node, row);
  observer.observe(node);
}

const NO_TRACK = { rates: {}, peak: {} };
const NO_STATS = Object.fromEntries(VALUE_COLUMNS.flatMap(({ fields }) => fields).map((field) => [field, null]));
const text = (value) => String(value ?? '');
/** Tells screen readers that a cell spans these columns. */
const setSpan = (cell, columns) => writeAttribute(cell, 'aria-colspan', String(columns.filter(isShown).length));

/** A row for a container. When the order changes, rows are bound to other containers, not moved. */
function containerRow() {
  const [name, image, id, service, state, since, note] = Array.from({ length: 7 }, blank);
  const cells = {
    name: h('th', 'name', button('open', name), h('span', 'low', image)),
    id: h('td', 'id', id),
    service: h('td', 'service', service),
    state: h('td', 'state', h('span', 'word', state), h('span', 'low', since)),
  };
  const end = h('td', 'note', note);
  const node = h('tr', 'container', ...TEXT_COLUMNS.map(({ key }) => cells[key]), end);
  let [container, inStoppedGroup, outdated, startedAt, off, values] = [{}, false, false, 0, false, null];

  // Updates the text columns, which rarely change.
  const showText = () => {
    outdated = false;
    const containerId = container.id;
    node.dataset.id = containerId;
    write(id, containerId.slice(0, 12));
    write(name, text(container.name) || containerId.slice(0, 12));
    write(image, text(container.image));
    write(service, text(container.service_name));
    writeAttribute(cells.id, 'title', containerId);
    writeAttribute(cells.name, 'title', [name.data, image.data, ...(container.ports ?? [])].join('\n'));
    writeAttribute(cells.service, 'title', service.data);
    writeAttribute(cells.state, 'title', text(container.status));
    off = isOff(container) || container.state === 'restarting';
    node.classList.toggle('off', off);
    write(state, stateOf(container));
    startedAt = !off && Date.parse(container.started_at);
    const [exit, failed] = off ? exitText(container) : ['', state.data === 'unhealthy'];
    write(note, inStoppedGroup ? `${exit} · ${projectName(container.project)}` : exit);
    writeAttribute(node, 'data-mood', failed ? 'alarm' : off || container.state === 'paused' ? 'off' : 'good');
  };

  const row = {
    node,
    get key() { return container.id; },
    /** Binds the row to a container. The row is updated when it is shown. */
    bind(newContainer, isInStoppedGroup) {
      [container, inStoppedGroup, outdated] = [newContainer, isInStoppedGroup, true];
      setSpan(end, VALUE_COLUMNS);
      if (!node.dataset.id) showText();
    },
    show(isVisible) {
      if (outdated) showText();
      const stats = model.stats.get(container.id);
      const old = !off && stats?.age_ms > Math.max(2000, 1.5 * interval());
      node.classList.toggle('stale', old);
      writeAttribute(node, 'title', old ? `Sample is ${(stats.age_ms / 1000).toFixed(1)} s old` : '');
      const age = startedAt ? engineAge(startedAt) : NaN;
      write(since, Number.isFinite(age) ? `up ${duration(age)}` : '');
      const missing = (fields) => {
        const reason = fields.map((field) => stats?.unavailable?.[field]).find(Boolean);
        if (reason) return REASONS[reason] ?? String(reason);
        if (!stats) return model.snapshotAt ? 'no sample' : 'waiting for the first sample';
        return fields.some((field) => Number.isFinite(stats[field])) ? REASONS.first_sample : 'not reported';
      };
      if (off) return;
      if (!values) {
        // Created on first use, because most rows are not visible.
        values = VALUE_COLUMNS.map((column) => valueCell(column));
        end.before(...values.map(({ cell }) => cell));
      }
      const track = tracks.containers.get(container.id);
      for (const { show, draw } of values) {
        show(stats ?? NO_STATS, track ?? NO_TRACK, missing);
        if (isVisible && track) draw(track);
      }
    },
  };
  observe(node, row);
  return row;
}

const SIGNALS = { __proto__: null, 130: 'INT', 134: 'ABRT', 137: 'KILL', 139: 'SEGV', 143: 'TERM' };

/** Why a container stopped, such as `Exited (137), SIGKILL, out of memory`, and if that is a failure. */
export function exitText({ id, status, state }) {
  const { code = /\((\d+)\)/.exec(status)?.[1] ?? 0, oom } = model.exits.get(id) ?? {};
  // Without "3 hours ago", which would become outdated.
  const reason = text(status).replace(/ (Less than|About|\d+) .*ago$/, '')
    || text(state).replace(/^./, (c) => c.toUpperCase()) + (isOff({ state }) ? ` (${code})` : '');
  const parts = [reason, SIGNALS[code] && `SIG${SIGNALS[code]}`, oom && 'out of memory'];
  // 143 and 137 are the exit codes after `docker stop`: SIGTERM, then SIGKILL.
  return [parts.filter(Boolean).join(', '), oom || ![0, 137, 143].includes(Number(code))];
}

/** The rows of one group: a heading with the totals, the containers, and how many are not shown. */
export function groupRows() {
  const [name, counts, more] = [blank(), blank(), blank()];
  const toggle = button('toggle', name);
  const heading = h('h2', 'heading', toggle);
  const values = VALUE_COLUMNS.map((column) => valueCell(column));
  const title = h('th', 'title', heading, h('span', 'quiet', counts));
  const head = h('tr', 'project', title, ...values.map(({ cell }) => cell));
  const moreRow = h('tr', 'more', h('td', '', more));
  const node = h('tbody');
  const containerRows = [];
  let group = null;
  const show = (isVisible) => {
    const total = group.rows.length + group.more;
    const stats = group.id !== STOPPED && model.totals.get(group.id);
    const off = stats ? stats.containers - stats.running : 0;
    const count = stats ? `${stats.sampled} of ${stats.running} sampled` : `${total} ${total === 1 ? 'container' : 'containers'}`;
    write(counts, off > 0 ? `${count}, ${off} not running` : count);
    const track = tracks.projects.get(group.id);
    for (const value of values) {
      value.show(stats || {}, track ?? NO_TRACK, () => 'no sample');
      if (isVisible && track) value.draw(track);
    }
  };

  const row = {
    node: head,
    body: node,
    show,
    get key() { return `/${group.id}`; },
    /** Binds the rows to a group. Returns all rows, from top to bottom. */
    bind(newGroup, closed) {
      group = newGroup;
      const noHeading = group.name === null;
      write(name, text(group.name));
      setSpan(title, TEXT_COLUMNS);
      write(more, `${group.more} more not shown`);
      head.classList.toggle('off', group.id === STOPPED);
      toggle.dataset.project = group.id;
      toggle.title = name.data;
      writeAttribute(toggle, 'aria-expanded', String(!closed));
      const rows = closed && !noHeading ? [] : group.rows.map((container, i) => {
        const containerRowAt = containerRows[i] ??= containerRow();
        containerRowAt.bind(container, group.id === STOPPED);
        return containerRowAt;
      });
      // Keep some rows for reuse.
      containerRows.splice(rows.length + 20);
      if (!noHeading) rows.unshift(row);
      replaceChildren(node, [...rows.map((r) => r.node), ...(group.more && rows.length > 1 ? [moreRow] : [])]);
      return rows;
    },
  };
  observe(head, row);
  return row;
}

/** The totals of all containers, above the table. */
export function summary() {
  const running = { key: 'running', label: 'Running', fields: [1], text: ({ containers, running: n }) => {
    const unhealthy = [...model.containers.values()].filter((c) => stateOf(c) === 'unhealthy').length;
    return [`${n} of ${containers}`, '', unhealthy ? `${unhealthy} unhealthy` : ''];
  } };
  const values = [running, ...VALUE_COLUMNS.filter(({ fraction }) => !fraction)].map((column) => valueCell(column, 'dd'));
  return {
    nodes: values.map(({ cell }) => h('div', '', h('dt', '', cell.dataset.label), cell)),
    show() {
      for (const { show, draw } of values) {
        show(model.grandTotal, tracks.all, () => '');
        draw(tracks.all);
      }
    },
  };
}
