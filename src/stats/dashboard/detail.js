// The detail panel: one container, with charts of the last five minutes.

import { fromEngine, timeOfDay, wasSetBack } from './clock.js';
import { cpu } from './columns.js';
import { requestHistory } from './connection.js';
import { $, blank, h, plot, replaceChildren, svg, write, writeAttribute } from './dom.js';
import { binary, formatValue, rate } from './format.js';
import { isOff, model, projectName, stateOf } from './model.js';
import { exitText } from './rows.js';
import { convertColumns, times, toMs, tracks } from './tracks.js';

const SPAN_MS = 300_000;
const [WIDTH, HEIGHT] = [600, 100];

/** Title, columns with their labels, smallest scale, format. */
const CHARTS = [
  ['CPU', { cpu: 'used' }, 1, cpu],
  ['Memory', { memory: 'used' }, 1 << 20, binary],
  ['Network', { rx: 'in', tx: 'out' }, 1000, rate],
  ['Disk', { read: 'read', write: 'written' }, 1000, rate],
];

// The id of the container in the panel, if open.
let shownId = '';
// Its history.
let series = { t: [] };
let charts = null;
// Horizontal position of the pointer in the charts, from 0 to 1; 1 is now.
let pointer = 1;

function chart([title, columns, floor, format]) {
  const names = Object.keys(columns);
  const values = names.map(blank);
  const [scaleText, peakText, startText, endText] = [blank(), blank(), blank(), blank()];
  const { node: picture, draw } = plot(WIDTH, HEIGHT, names.length);
  picture.setAttribute('role', 'img');
  picture.removeAttribute('aria-hidden');
  const mark = picture.appendChild(svg('path', { class: 'mark' }));
  const frame = h('div', 'frame', picture, h('span', 'low', scaleText));
  frame.onpointermove = ({ clientX }) => {
    const { left, width } = frame.getBoundingClientRect();
    pointer = (clientX - left) / width;
    update();
  };
  frame.onpointerleave = () => {
    pointer = 1;
    update();
  };
  const legend = names.map((name, i) => h('span', `legend${i}`, `${columns[name]} `, values[i]));
  const node = h('figure', '', h('figcaption', '', h('strong', '', title), ...legend, h('span', 'quiet', peakText)),
    frame, h('div', 'axis low', h('span', '', startText), h('span', '', endText)));
  return { node, show(last) {
    const toText = (value) => formatValue(value, (x) => format(x, last));
    const known = names.flatMap((name) => series[name] ?? []).filter(Number.isFinite);
    const peak = known.reduce((a, b) => Math.max(a, b), 0);
    const scale = Math.max(floor, peak) * 1.1;
    draw(names.map((name) => series[name] ?? []), series.t, SPAN_MS, scale);
    const now = series.t.at(-1);
    const at = now - (1 - pointer) * SPAN_MS;
    const i = series.t.findIndex((t) => t >= at);
    names.forEach((name, n) => write(values[n], toText(series[name]?.[i])));
    mark.setAttribute('d', pointer < 1 ? `M${pointer * WIDTH} 0V${HEIGHT}` : '');
    write(scaleText, toText(scale));
    write(peakText, known.length ? `peak ${toText(peak)}` : '');
    write(startText, now ? timeOfDay(now - SPAN_MS) : '');
    write(endText, now ? timeOfDay(pointer < 1 ? at : now) : '');
    writeAttribute(picture, 'aria-label', `${title}, last five minutes: ${names.map((name) => `${columns[name]} ${toText(series[name]?.at(-1))}`).join(', ')}; peak ${toText(peak)}`);
  } };
}

const FACTS = {
  Project: (c) => projectName(c.project),
  Image: (c) => c.image,
  'Container ID': (c) => c.id.slice(0, 12),
  Ports: (c) => c.ports?.join('\n'),
  Started: (c) => c.started_at && timeOfDay(fromEngine(Date.parse(c.started_at))),
  Created: (c) => c.created_at && timeOfDay(fromEngine(Date.parse(c.created_at))),
  'Memory limit': (c, s) => formatValue(s.memory_limit, binary),
  'CPU limit': (c, s) => s.cpu_limit && `${s.cpu_limit} of ${s.online_cpus} cores`,
  PIDs: (c, s) => formatValue(s.pids, String),
};

export function showDetail(id) {
  const container = model.containers.get(id);
  if (!charts) {
    charts = CHARTS.map(chart);
    $('charts').append(...charts.map(({ node }) => node));
    $('detail').onclose = () => { shownId = ''; };
    // A click outside the panel has the dialog itself as its target.
    $('detail').onclick = ({ target }) => target === $('detail') && $('detail').close();
    $('close').onclick = () => $('detail').close();
  }
  shownId = id;
  series = { t: [] };
  update();
  $('detail').showModal();
  requestHistory(container.project, ({ payload: { t, containers } }) => {
    if (shownId !== id || !containers[id]) return;
    series = { t: t.map(toMs), ...convertColumns(containers[id], t) };
    update();
  });
}

/** Adds the latest point to the charts. */
function addLatestPoint(track) {
  if (wasSetBack(series.t.at(-1), times.at(-1))) series = { t: [] };
  if (!track || series.t.at(-1) > times.at(-1) - 500) return;
  series.t.push(times.at(-1));
  const point = { ...track.rates, cpu: track.cpu.at(-1), memory: track.memory.at(-1) };
  for (const [name, value] of Object.entries(point)) (series[name] ??= []).push(value);
}

/** Updates the panel if it is open. */
export function update() {
  if (!shownId) return;
  const container = model.containers.get(shownId);
  if (!container) return void $('detail').close();
  const off = isOff(container);
  const stats = (!off && model.stats.get(shownId)) || {};
  $('detail-name').textContent = container.name || shownId.slice(0, 12);
  $('detail-state').textContent = off ? exitText(container)[0] : stateOf(container);
  const facts = Object.entries(FACTS).map(([name, value]) => [name, value(container, stats)]).filter(([, value]) => value);
  const text = facts.join('\n');
  if ($('facts').dataset.text !== text) {
    $('facts').dataset.text = text;
    replaceChildren($('facts'), facts.map(([name, value]) => h('div', '', h('dt', '', name), h('dd', '', value))));
  }
  addLatestPoint(tracks.containers.get(shownId));
  $('charts').hidden = !series.t.length;
  for (const { show } of charts) show(stats);
}
