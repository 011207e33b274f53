// One container close up: a panel beside the table, with the last five minutes.

import { cpu } from './columns.js';
import { $, blank, h, place, plot, svg, write, writeAttribute } from './dom.js';
import { binary, clock, figure, rate } from './format.js';
import { askPast } from './link.js';
import { isOff, model, projectName, stateOf } from './model.js';
import { ending } from './rows.js';
import { axis, past, times, tracks } from './tracks.js';

const SPAN_MS = 300_000;
const [WIDTH, HEIGHT] = [600, 100];

/** Title, columns with their names, the least height, how a value is written. */
const CHARTS = [
  ['CPU', { cpu: 'used' }, 1, cpu],
  ['Memory', { memory: 'used' }, 1 << 20, binary],
  ['Network', { rx: 'in', tx: 'out' }, 1000, rate],
  ['Disk', { read: 'read', write: 'written' }, 1000, rate],
];

// The id of the container in the panel.
let shown = '';
// Its columns.
let kept = { t: [] };
let charts = null;
// Where in the charts the pointer is: 1 is now.
let pointed = 1;

function chart([title, columns, floor, format]) {
  const names = Object.keys(columns);
  const values = names.map(blank);
  const [top, peak, from, to] = [blank(), blank(), blank(), blank()];
  const { node: picture, draw } = plot(WIDTH, HEIGHT, names.length);
  picture.setAttribute('role', 'img');
  picture.removeAttribute('aria-hidden');
  const mark = picture.appendChild(svg('path', { class: 'mark' }));
  const frame = h('div', 'frame', picture, h('span', 'low', top));
  frame.onpointermove = ({ clientX }) => {
    const { left, width } = frame.getBoundingClientRect();
    pointed = (clientX - left) / width;
    update();
  };
  frame.onpointerleave = () => {
    pointed = 1;
    update();
  };
  const legend = names.map((name, i) => h('span', `legend${i}`, `${columns[name]} `, values[i]));
  const node = h('figure', '', h('figcaption', '', h('strong', '', title), ...legend, h('span', 'quiet', peak)),
    frame, h('div', 'axis low', h('span', '', from), h('span', '', to)));
  return { node, show(last) {
    const say = (value) => figure(value, (x) => format(x, last));
    const all = names.flatMap((name) => kept[name] ?? []).filter(Number.isFinite);
    const most = all.reduce((a, b) => Math.max(a, b), 0);
    draw(names.map((name) => kept[name] ?? []), kept.t, SPAN_MS, Math.max(floor, most) * 1.1);
    const now = kept.t.at(-1);
    const at = now - (1 - pointed) * SPAN_MS;
    const i = kept.t.findIndex((t) => t >= at);
    names.forEach((name, n) => write(values[n], say(kept[name]?.[i])));
    mark.setAttribute('d', pointed < 1 ? `M${pointed * WIDTH} 0V${HEIGHT}` : '');
    write(top, say(Math.max(floor, most) * 1.1));
    write(peak, all.length ? `peak ${say(most)}` : '');
    write(from, now ? clock(now - SPAN_MS) : '');
    write(to, now ? clock(pointed < 1 ? at : now) : '');
    writeAttribute(picture, 'aria-label', `${title}, last five minutes: ${names.map((name) => `${columns[name]} ${say(kept[name]?.at(-1))}`).join(', ')}; peak ${say(most)}`);
  } };
}

const FACTS = {
  Project: (c) => projectName(c.project),
  Image: (c) => c.image,
  'Container ID': (c) => c.id.slice(0, 12),
  Ports: (c) => c.ports?.join('\n'),
  Started: (c) => c.started_at && clock(Date.parse(c.started_at)),
  Created: (c) => c.created_at && clock(Date.parse(c.created_at)),
  'Memory limit': (c, s) => figure(s.memory_limit, binary),
  'CPU limit': (c, s) => s.cpu_limit && `${s.cpu_limit} of ${s.online_cpus} cores`,
  PIDs: (c, s) => figure(s.pids, String),
};

export function showDetail(id) {
  const container = model.containers.get(id);
  if (!charts) {
    charts = CHARTS.map(chart);
    $('charts').append(...charts.map(({ node }) => node));
    $('detail').onclose = () => { shown = ''; };
    // A press beside the panel: the dialog itself is only what is around its content.
    $('detail').onclick = ({ target }) => target === $('detail') && $('detail').close();
    $('close').onclick = () => $('detail').close();
  }
  shown = id;
  kept = { t: [] };
  update();
  $('detail').showModal();
  askPast(container.project, ({ payload: { t, containers }, timestamp }) => {
    if (shown !== id || !containers[id]) return;
    kept = { t: axis(t, timestamp), ...past(containers[id], t) };
    update();
  });
}

/** Adds what came since to the charts. */
function follow(track) {
  if (!track || kept.t.at(-1) > times.at(-1) - 500) return;
  kept.t.push(times.at(-1));
  const point = { ...track.now, cpu: track.cpu.at(-1), memory: track.memory.at(-1) };
  for (const [name, value] of Object.entries(point)) (kept[name] ??= []).push(value);
}

/** Writes what is new about the container in the panel, where one is open. */
export function update() {
  if (!shown) return;
  const container = model.containers.get(shown);
  if (!container) return void $('detail').close();
  const off = isOff(container);
  const stats = (!off && model.stats.get(shown)) || {};
  $('detail-name').textContent = container.name || shown.slice(0, 12);
  $('detail-state').textContent = off ? ending(container)[0] : stateOf(container);
  const facts = Object.entries(FACTS).map(([name, value]) => [name, value(container, stats)]).filter(([, value]) => value);
  const text = facts.join('\n');
  if ($('facts').dataset.text !== text) {
    $('facts').dataset.text = text;
    place($('facts'), facts.map(([name, value]) => h('div', '', h('dt', '', name), h('dd', '', value))));
  }
  follow(tracks.containers.get(shown));
  $('charts').hidden = !kept.t.length;
  for (const one of charts) one.show(stats);
}
