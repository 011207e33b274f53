// The page of kentros: it shows what ws/stats tells, as it comes. What is known is in model.js and
// tracks.js, what the visitor chose in choices.js; here it is brought to the page.

import { choices, choose, onChoice } from './choices.js';
import { listProjects, startControls } from './controls.js';
import { showDetail, update } from './detail.js';
import { $, blank, place, write, writeAttribute } from './dom.js';
import { clock, significant } from './format.js';
import { connect, heed, hurry, link, watch } from './link.js';
import { arrange, interval, model, receive, staleSince } from './model.js';
import { groupRows, inSight, sight, summary } from './rows.js';

const view = {
  // Containers that pass the filters.
  shown: 0,
  // Groups of rows, from the top.
  bodies: [],
  // All rows, from the top.
  rows: [],
  touched: new Set(['layout', 'figures', 'status']),
  // Rows that wait for a frame.
  due: new Set(),
  asked: false,
};

/** Of a frame's 16 ms the browser needs the most, to lay out and paint: no more rows in sight are
 * written in one. Of those out of sight, which cost no more than the writing, some besides. */
const ROWS_A_FRAME = 6;
const SLICE_MS = 3;

const strip = summary();

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
  // Hidden since it was asked for: it is kept for later.
  if (document.hidden) return;
  const { touched } = view;
  if (touched.delete('layout')) {
    paintLayout();
    touched.add('figures');
  } else {
    if (touched.has('figures')) {
      for (const row of view.rows) if (inSight.has(row)) view.due.add(row);
      strip.show();
      update();
    }
    if (touched.size) paintStatus();
    touched.clear();
    paintSome();
  }
  if (touched.size || view.due.size) askFrame();
}

/** Rows that wait: a few, those in sight first. */
function paintSome() {
  const end = performance.now() + SLICE_MS;
  let [seen, others] = [0, 0];
  const show = (row, inside) => {
    view.due.delete(row);
    row.show(inside);
  };
  for (const row of view.due) if (inSight.has(row) && (seen += 1) <= ROWS_A_FRAME) show(row, true);
  // Some at least, where the machine does much else.
  for (const row of view.due) if (!inSight.has(row) && ((others += 1) < 12 || performance.now() < end)) show(row, false);
}

function paintLayout() {
  const { groups, shown } = arrange();
  const { bodies } = view;
  const focused = document.activeElement.closest('tbody button');
  const key = focused && (focused.closest('tr').dataset.id ?? `/${focused.dataset.project}`);
  const rows = groups.flatMap((group, i) => (bodies[i] ??= groupRows()).bind(group, choices.closed.includes(group.id)));
  bodies.length = groups.length;
  place($('table'), bodies.map(({ body }) => body), 1);
  Object.assign(view, { shown, rows, due: new Set(rows) });
  listProjects();
  // The focus stays with whom it was on, wherever that is now.
  const row = key && rows.find((one) => one.key === key);
  if (row) {
    row.show(true);
    row.node.querySelector('button').focus({ preventScroll: true });
  }
  rove();
}

const tell = (id, text) => write($(id).firstChild ?? $(id).appendChild(blank()), text);

/** The line at the top, and what stands in place of rows where there are none. */
function paintStatus() {
  const { engine } = model;
  const gone = engine?.state === 'unreachable';
  const name = engine?.engine || 'Engine';
  const since = engine?.since ? `since ${clock(engine.since * 1000)}` : '';
  const stale = staleSince();
  const lost = link.phase !== 'live';
  const demo = engine?.mode === 'demo';
  const some = model.containers.size > 0;
  const none = view.shown === 0;
  const [text, mood] = linkText(stale, gone);
  const trouble = !some ? '' : gone ? `${name} unreachable: ${engine.error || 'no reason given'}`
    : !model.snapshotAt && !lost ? 'Waiting for the first sample' : '';
  const late = stale && lost ? `stale since ${clock(stale)}` : '';
  const words = (...parts) => parts.filter(Boolean).join(', ');

  for (const [id, told] of Object.entries({
    'link-text': text,
    late,
    spoken: lost ? (link.was ? 'Connection lost, reconnecting' : '') : gone ? `${name} unreachable` : 'Connected',
    engine: !engine ? '' : gone ? `${name} unreachable` : [engine.engine, engine.version].filter(Boolean).join(' '),
    pace: engine && !gone ? words(!demo && engine.mode, `every ${significant(interval() / 1000, 3)} s`, since) : since,
    count: choices.q || choices.state || choices.project ? `${view.shown} of ${model.containers.size}` : '',
    trouble,
    // The panel covers the line at the top.
    'detail-trouble': words(mood === 'alarm' && text, late, gone && trouble),
  })) tell(id, told);
  for (const [id, hidden] of Object.entries({
    demo: !demo, trouble: !trouble, summary: none || !model.totals.size || trouble, tools: !some, table: none, empty: !none, unfilter: !some,
  })) $(id).hidden = hidden;
  writeAttribute($('link'), 'data-mood', mood);
  writeAttribute($('link'), 'title', link.why);
  $('trouble').classList.toggle('alarm', gone);
  document.body.classList.toggle('stale', Boolean(stale) || (some && (lost || gone)));
  const title = demo ? 'kentros (demo)' : 'kentros';
  if (document.title !== title) document.title = title;

  // The very first moments need no words.
  if (!none || (!gone && !model.listed && performance.now() < 500)) return;
  const [heading, more] = some ? ['Nothing matches', `None of ${model.containers.size} containers is what you look for.`]
    : gone ? [`${name} unreachable`, [engine.error, since].filter(Boolean).join('\n')]
      : lost ? [link.failures ? 'No connection to the server' : 'Connecting', link.why]
        : model.listed ? ['No containers yet', 'They appear here as soon as there is one.']
          : ['Waiting for the first sample', ''];
  tell('empty-title', heading);
  tell('empty-text', more);
}

function linkText(stale, gone) {
  if (link.phase === 'waiting') {
    return [`Reconnecting in ${Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000))} s`, 'alarm'];
  }
  if (link.phase === 'connecting') return link.was ? ['Reconnecting', 'alarm'] : ['Connecting', 'wait'];
  if (stale) return [`Stale since ${clock(stale)}`, 'alarm'];
  return gone ? ['Connected', 'wait'] : ['Live', 'good'];
}

/** The table is one stop of the Tab key; arrows go from row to row. */
let stop = null;

function rove(to = stop?.isConnected ? stop : $('table').querySelector('tbody button')) {
  if (stop && stop !== to) stop.tabIndex = -1;
  stop = to;
  if (stop) stop.tabIndex = 0;
}

function pressed(event) {
  const button = event.target.closest('button');
  const id = event.target.closest('tr.container')?.dataset.id;
  if (button?.dataset.project !== undefined) {
    const { project } = button.dataset;
    const open = choices.closed.filter((one) => one !== project);
    choose({ closed: open.length < choices.closed.length ? open : [...open, project].slice(-500) });
  } else if (id && !String(getSelection())) showDetail(id);
}

function walk(event) {
  const stops = [...$('table').querySelectorAll('tbody button')];
  const at = stops.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: stops.length - 1 }[event.key];
  if (at < 0 || !stops[to]) return;
  event.preventDefault();
  stops[to].focus();
}

$('summary').append(...strip.nodes);
startControls();
$('table').addEventListener('click', pressed);
$('table').addEventListener('keydown', walk);
$('table').addEventListener('focusin', ({ target }) => { if (target.closest('tbody')) rove(target); });
onChoice(() => touch('layout'));
sight.entered = (row) => {
  view.due.add(row);
  askFrame();
};
heed.change = () => touch('status');
heed.message = (message) => {
  const touched = receive(message);
  if (touched) touch(touched);
};
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
