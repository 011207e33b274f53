// The dashboard. The data is in model.js and tracks.js, the user's settings are in choices.js; this
// module shows them on the page.

import { choices, choose, onChoice } from './choices.js';
import { now, timeOfDay } from './clock.js';
import { checkTimeout, connect, connection, on as onConnection, reconnectNow } from './connection.js';
import { startControls, updateProjectFilter } from './controls.js';
import { showDetail, update } from './detail.js';
import { $, blank, replaceChildren, write, writeAttribute } from './dom.js';
import { significant } from './format.js';
import { arrange, interval, model, receive, staleSince } from './model.js';
import { groupRows, on as onRows, summary, visibleRows } from './rows.js';

const view = {
  // Number of containers that match the filters.
  shown: 0,
  // Groups of rows, from top to bottom.
  bodies: [],
  // All rows, from top to bottom.
  rows: [],
  // What has changed: 'layout', 'values', 'status'.
  changed: new Set(['layout', 'values', 'status']),
  // Rows to update in the next frames.
  pending: new Set(),
  frameRequested: false,
};

/** Limits per frame. Most of its 16 ms are needed for layout and painting of visible rows; updates of
 * other rows are cheap and limited by time. */
const ROWS_PER_FRAME = 6;
const HIDDEN_ROWS_MS = 3;

const totals = summary();

/** Marks a part as changed, to be painted in the next frame. Nothing is painted while the page is hidden. */
function invalidate(part) {
  view.changed.add(part);
  requestFrame();
}

function requestFrame() {
  if (view.frameRequested || document.hidden) return;
  view.frameRequested = true;
  requestAnimationFrame(paint);
}

function paint() {
  view.frameRequested = false;
  // The page may have been hidden since the request.
  if (document.hidden) return;
  const { changed } = view;
  if (changed.delete('layout')) {
    paintLayout();
    changed.add('values');
  } else {
    if (changed.has('values')) {
      for (const row of view.rows) if (visibleRows.has(row)) view.pending.add(row);
      totals.show();
      update();
    }
    if (changed.size) paintStatus();
    changed.clear();
    paintRows();
  }
  if (changed.size || view.pending.size) requestFrame();
}

/** Updates some of the pending rows, visible rows first. */
function paintRows() {
  const end = now() + HIDDEN_ROWS_MS;
  let [visible, hidden] = [0, 0];
  const show = (row, isVisible) => {
    view.pending.delete(row);
    row.show(isVisible);
  };
  for (const row of view.pending) if (visibleRows.has(row) && (visible += 1) <= ROWS_PER_FRAME) show(row, true);
  // At least a few, even on a slow machine.
  for (const row of view.pending) if (!visibleRows.has(row) && ((hidden += 1) < 12 || now() < end)) show(row, false);
}

function paintLayout() {
  const { groups, shown } = arrange();
  const { bodies } = view;
  const focused = document.activeElement.closest('tbody button');
  const key = focused && (focused.closest('tr').dataset.id ?? `/${focused.dataset.project}`);
  const rows = groups.flatMap((group, i) => (bodies[i] ??= groupRows()).bind(group, choices.closed.includes(group.id)));
  bodies.length = groups.length;
  replaceChildren($('table'), bodies.map(({ body }) => body), 1);
  Object.assign(view, { shown, rows, pending: new Set(rows) });
  updateProjectFilter();
  // Keep the focus on the same container or group.
  const row = key && rows.find((r) => r.key === key);
  if (row) {
    row.show(true);
    row.node.querySelector('button').focus({ preventScroll: true });
  }
  setTabStop();
}

const setText = (id, text) => write($(id).firstChild ?? $(id).appendChild(blank()), text);

/** Updates the top bar, and the message shown if there are no rows. */
function paintStatus() {
  const { engine } = model;
  const down = engine && engine.state !== 'connected';
  const name = engine?.engine || 'Engine';
  const stateText = `${name} ${engine?.state}`;
  const since = engine?.since ? `since ${timeOfDay(engine.since * 1000)}` : '';
  const stale = staleSince();
  const offline = connection.phase !== 'live';
  const demo = engine?.mode === 'demo';
  const hasContainers = model.containers.size > 0;
  const noRows = view.shown === 0;
  const [text, mood] = connectionText(stale, down);
  const problem = !hasContainers ? '' : down ? `${stateText}: ${engine.error || 'unknown error'}`
    : !model.snapshotAt && !offline ? 'Waiting for the first sample' : '';
  const late = stale && offline ? `stale since ${timeOfDay(stale)}` : '';
  const join = (...parts) => parts.filter(Boolean).join(', ');

  for (const [id, content] of Object.entries({
    'link-text': text,
    late,
    spoken: offline ? (connection.wasLive ? 'Connection lost, reconnecting' : '') : down ? stateText : 'Connected',
    engine: !engine ? '' : down ? stateText : [engine.engine, engine.version].filter(Boolean).join(' '),
    pace: engine && !down ? join(!demo && engine.mode, `every ${significant(interval() / 1000, 3)} s`, since) : since,
    count: choices.q || choices.state || choices.project ? `${view.shown} of ${model.containers.size}` : '',
    trouble: problem,
    // The panel covers the top bar.
    'detail-trouble': join(mood === 'alarm' && text, late, down && problem),
  })) setText(id, content);
  for (const [id, hidden] of Object.entries({
    demo: !demo, trouble: !problem, summary: noRows || !model.totals.size || problem, tools: !hasContainers, table: noRows, empty: !noRows, unfilter: !hasContainers,
  })) $(id).hidden = hidden;
  writeAttribute($('link'), 'data-mood', mood);
  writeAttribute($('link'), 'title', connection.reason);
  $('trouble').classList.toggle('alarm', down);
  document.body.classList.toggle('stale', Boolean(stale) || (hasContainers && (offline || down)));
  const title = demo ? 'kentros (demo)' : 'kentros';
  if (document.title !== title) document.title = title;

  // While the page loads, show no message.
  if (!noRows || (!down && !model.listed && now() < 500)) return;
  const [heading, details] = hasContainers ? ['No matching containers', `None of the ${model.containers.size} containers match the filters.`]
    : down ? [stateText, [engine.error, since].filter(Boolean).join('\n')]
      : offline ? [connection.failures ? 'Cannot connect to the server' : 'Connecting…', connection.reason]
        : model.listed ? ['No containers', 'New containers appear here automatically.']
          : ['Waiting for the first sample', ''];
  setText('empty-title', heading);
  setText('empty-text', details);
}

function connectionText(stale, down) {
  if (connection.phase === 'waiting') {
    return [`Reconnecting in ${Math.max(1, Math.ceil((connection.retryAt - now()) / 1000))} s`, 'alarm'];
  }
  if (connection.phase === 'connecting') return connection.wasLive ? ['Reconnecting…', 'alarm'] : ['Connecting…', 'wait'];
  if (stale) return [`Stale since ${timeOfDay(stale)}`, 'alarm'];
  return down ? ['Connected', 'wait'] : ['Live', 'good'];
}

/** The button in the table that the Tab key reaches; arrow keys move between the rows. */
let tabStop = null;

function setTabStop(to = tabStop?.isConnected ? tabStop : $('table').querySelector('tbody button')) {
  if (tabStop && tabStop !== to) tabStop.tabIndex = -1;
  tabStop = to;
  if (tabStop) tabStop.tabIndex = 0;
}

function onTableClick(event) {
  const button = event.target.closest('button');
  const id = event.target.closest('tr.container')?.dataset.id;
  if (button?.dataset.project !== undefined) {
    const { project } = button.dataset;
    const others = choices.closed.filter((id) => id !== project);
    choose({ closed: others.length < choices.closed.length ? others : [...others, project].slice(-500) });
  } else if (id && !String(getSelection())) showDetail(id);
}

function onTableKey(event) {
  const buttons = [...$('table').querySelectorAll('tbody button')];
  const at = buttons.indexOf(event.target);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || !buttons[to]) return;
  event.preventDefault();
  buttons[to].focus();
}

$('summary').append(...totals.nodes);
startControls();
$('table').addEventListener('click', onTableClick);
$('table').addEventListener('keydown', onTableKey);
$('table').addEventListener('focusin', ({ target }) => { if (target.closest('tbody')) setTabStop(target); });
onChoice(() => invalidate('layout'));
onRows.visible = (row) => {
  view.pending.add(row);
  requestFrame();
};
onConnection.change = () => invalidate('status');
onConnection.message = (message) => {
  const changed = receive(message);
  if (changed) invalidate(changed);
};
document.addEventListener('visibilitychange', () => {
  reconnectNow();
  invalidate('status');
});
addEventListener('online', reconnectNow);
setInterval(() => {
  checkTimeout();
  invalidate('status');
}, 1000);
connect();
