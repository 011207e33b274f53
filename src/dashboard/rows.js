// The rows of the table and the strip above it: made once, then only what differs is written.

import { FIGURES, WORDS, isShown } from './columns.js';
import { blank, button, h, place, plot, write, writeAttribute } from './dom.js';
import { REASONS, lasting } from './format.js';
import { PAST_S } from './link.js';
import { STOPPED, interval, isOff, model, projectName, stateOf } from './model.js';
import { times, tracks } from './tracks.js';

/** What shows one of FIGURES: two values with a slash between, the same below, a line or a bar. */
function figureCell({ key, label, fields, spark, floor, text, part }, tag = 'td') {
  const cell = h(tag, `figure ${key}`);
  // Shown where there are no heads.
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
  const bar = part && cell.appendChild(h('i', 'meter'));
  let [why, filled] = ['', -1];
  const show = ([left, slash, right], a = '', b = '') => {
    write(left, a);
    if (!right) return;
    // One -- is enough for both.
    const one = !b || (a === '--' && b === '--');
    write(slash, one ? '' : ' / ');
    write(right, one ? '' : b);
  };

  return { cell, show(stats, track, missing) {
    const [a, b, c, d] = text(stats, track);
    show(above, a, b);
    // A rate that is missing for want of its counter says it for both.
    const [e, f] = c === '--' ? [] : [c, d];
    // In the strip it is one text: there the second has no column to stand in.
    if (tag === 'dd' && f) show(below, `${e} / ${f}`);
    else show(below, e, f);
    const now = bar && Math.min(1, Math.round(part(stats) * 100) / 100 || 0);
    if (bar && now !== filled) {
      filled = now;
      bar.style.setProperty('--part', now);
      bar.classList.toggle('high', now >= 0.9);
    }
    const reason = a === '--' || b === '--' ? missing(fields) : '';
    if (reason === why) return;
    why = reason;
    writeAttribute(cell, 'title', reason);
    writeAttribute(cell, 'aria-label', reason && `${a}, ${reason}`);
    writeAttribute(cell, 'data-why', reason.split(':')[0]);
  }, draw(track) {
    // A little room above, so that the greatest is not cut.
    line?.draw([track[spark]], times, PAST_S * 1000, 1.1 * track[spark].reduce((x, y) => (y > x ? y : x), floor));
  } };
}

/** Rows in sight, or nearly: only they follow each snapshot, and only their lines are drawn. */
export const inSight = new Set();
/** The page's part: what to do with a row that comes into sight. */
export const sight = {};
// Its element -> a row.
const rowOf = new WeakMap();
const observer = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    const row = rowOf.get(target);
    inSight[isIntersecting ? 'add' : 'delete'](row);
    if (isIntersecting) sight.entered(row);
  }
}, { rootMargin: '100px' });

function observe(node, row) {
  rowOf.set(node, row);
  observer.observe(node);
}

const noTrack = { now: {}, peak: {} };
const nothing = Object.fromEntries(FIGURES.flatMap(({ fields }) => fields).map((field) => [field, null]));
const text = (value) => String(value ?? '');
/** Tells a reader of the screen that a cell takes the place of these columns. */
const span = (cell, columns) => writeAttribute(cell, 'aria-colspan', String(columns.filter(isShown).length));

/** A place in the table for a container, now this one and now that: in a new order no row moves. */
function containerRow() {
  const [name, image, id, service, state, since, note] = Array.from({ length: 7 }, blank);
  const cells = {
    name: h('th', 'name', button('open', name), h('span', 'low', image)),
    id: h('td', 'id', id),
    service: h('td', 'service', service),
    state: h('td', 'state', h('span', 'word', state), h('span', 'low', since)),
  };
  const end = h('td', 'note', note);
  const node = h('tr', 'container', ...WORDS.map(({ key }) => cells[key]), end);
  let [container, apart, due, startedAt, off, figures] = [{}, false, false, 0, false, null];

  // Who it is and how it is: changes seldom.
  const describe = () => {
    due = false;
    const own = container.id;
    node.dataset.id = own;
    write(id, own.slice(0, 12));
    write(name, text(container.name) || own.slice(0, 12));
    write(image, text(container.image));
    write(service, text(container.service_name));
    writeAttribute(cells.id, 'title', own);
    writeAttribute(cells.name, 'title', [name.data, image.data, ...(container.ports ?? [])].join('\n'));
    writeAttribute(cells.service, 'title', service.data);
    writeAttribute(cells.state, 'title', text(container.status));
    off = isOff(container) || container.state === 'restarting';
    node.classList.toggle('off', off);
    write(state, stateOf(container));
    startedAt = !off && Date.parse(container.started_at);
    const [words, bad] = off ? ending(container) : ['', state.data === 'unhealthy'];
    write(note, apart ? `${words} · ${projectName(container.project)}` : words);
    writeAttribute(node, 'data-mood', bad ? 'alarm' : off || container.state === 'paused' ? 'off' : 'good');
  };

  const row = {
    node,
    get key() { return container.id; },
    /** Whose it is from now on: it is written when it is shown. */
    bind(now, isApart) {
      [container, apart, due] = [now, isApart, true];
      span(end, FIGURES);
      if (!node.dataset.id) describe();
    },
    show(seen) {
      if (due) describe();
      const own = container.id;
      const stats = model.stats.get(own);
      const old = !off && stats?.age_ms > Math.max(2000, 1.5 * interval());
      node.classList.toggle('stale', old);
      writeAttribute(node, 'title', old ? `this sample is ${(stats.age_ms / 1000).toFixed(1)} s old` : '');
      write(since, startedAt ? `up ${lasting(Date.now() - startedAt)}` : '');
      const missing = (fields) => {
        const reason = fields.map((field) => stats?.unavailable?.[field]).find(Boolean);
        if (reason) return REASONS[reason] ?? String(reason);
        if (!stats) return model.snapshotAt ? 'no sample' : 'waiting for the first sample';
        return fields.some((field) => Number.isFinite(stats[field])) ? REASONS.first_sample : 'not reported';
      };
      if (off) return;
      if (!figures) {
        // Not all at once, for most rows are out of sight.
        figures = FIGURES.map((column) => figureCell(column));
        end.before(...figures.map(({ cell }) => cell));
      }
      const track = tracks.containers.get(own);
      for (const { show, draw } of figures) {
        show(stats ?? nothing, track ?? noTrack, missing);
        if (seen && track) draw(track);
      }
    },
  };
  observe(node, row);
  return row;
}

const SIGNALS = { __proto__: null, 130: 'INT', 134: 'ABRT', 137: 'KILL', 139: 'SEGV', 143: 'TERM' };

/** How a container ended, `Exited (137), SIGKILL, out of memory`, and whether that was bad. */
export function ending({ id, status, state }) {
  const { code = /\((\d+)\)/.exec(status)?.[1] ?? 0, oom } = model.deaths.get(id) ?? {};
  // The engine's "3 hours ago" would not stay true.
  const told = text(status).replace(/ (Less than|About|\d+) .*ago$/, '')
    || text(state).replace(/^./, (c) => c.toUpperCase()) + (isOff({ state }) ? ` (${code})` : '');
  const words = [told, SIGNALS[code] && `SIG${SIGNALS[code]}`, oom && 'out of memory'];
  // By SIGTERM and SIGKILL one stops a container.
  return [words.filter(Boolean).join(', '), oom || ![0, 137, 143].includes(Number(code))];
}

/** The rows of one project: its own with the sums, its containers', and how many more there are. */
export function groupRows() {
  const [name, counts, more] = [blank(), blank(), blank()];
  const toggle = button('toggle', name);
  const heading = h('h2', 'heading', toggle);
  const figures = FIGURES.map((column) => figureCell(column));
  const title = h('th', 'title', heading, h('span', 'quiet', counts));
  const head = h('tr', 'project', title, ...figures.map(({ cell }) => cell));
  const moreRow = h('tr', 'more', h('td', '', more));
  const node = h('tbody');
  const places = [];
  let group = null;
  const show = (seen) => {
    const own = group.id;
    const total = group.rows.length + group.more;
    const stats = own !== STOPPED && model.totals.get(own);
    const off = stats ? stats.containers - stats.running : 0;
    const words = stats ? `${stats.sampled} of ${stats.running} sampled` : `${total} ${total === 1 ? 'container' : 'containers'}`;
    write(counts, off > 0 ? `${words}, ${off} not running` : words);
    const track = tracks.projects.get(own);
    for (const figure of figures) {
      figure.show(stats || {}, track ?? noTrack, () => 'no sample');
      if (seen && track) figure.draw(track);
    }
  };

  const row = {
    node: head,
    body: node,
    show,
    get key() { return `/${group.id}`; },
    /** Which group it is from now on: its rows, from the top. */
    bind(now, closed) {
      group = now;
      const bare = group.name === null;
      write(name, text(group.name));
      span(title, WORDS);
      write(more, `and ${group.more} more that do not run`);
      head.classList.toggle('off', group.id === STOPPED);
      toggle.dataset.project = group.id;
      toggle.title = name.data;
      writeAttribute(toggle, 'aria-expanded', String(!closed));
      const rows = closed && !bare ? [] : group.rows.map((container, i) => {
        const one = places[i] ??= containerRow();
        one.bind(container, group.id === STOPPED);
        return one;
      });
      // Some are kept for the next order.
      places.splice(rows.length + 20);
      if (!bare) rows.unshift(row);
      place(node, [...rows.map((one) => one.node), ...(group.more && rows.length > 1 ? [moreRow] : [])]);
      return rows;
    },
  };
  observe(head, row);
  return row;
}

/** The strip of sums over everything. */
export function summary() {
  const running = { key: 'running', label: 'Running', fields: [1], text: ({ containers, running: n }) => {
    const sick = [...model.containers.values()].filter((c) => stateOf(c) === 'unhealthy').length;
    return [`${n} of ${containers}`, '', sick ? `${sick} unhealthy` : ''];
  } };
  const made = [running, ...FIGURES.filter(({ part }) => !part)].map((column) => figureCell(column, 'dd'));
  return {
    nodes: made.map(({ cell }) => h('div', '', h('dt', '', cell.dataset.label), cell)),
    show() {
      for (const { show, draw } of made) {
        show(model.sums, tracks.all, () => '');
        draw(tracks.all);
      }
    },
  };
}
