// The columns of the table: what stands in each, and what the order goes by.

import { choices, choose } from './choices.js';
import { binary, decimal, figure, percent, rate } from './format.js';

/** The ways to count CPU: head, name, what to multiply percent of a core with. */
export const UNITS = {
  __proto__: null,
  core: ['CPU %', '% of a core', () => 1, percent],
  cores: ['CPU CORES', 'cores', () => 0.01, (x) => x.toFixed(2)],
  host: ['CPU % HOST', '% of the host', (s) => 1 / s.online_cpus, percent],
  limit: ['CPU % LIMIT', '% of the limit', (s) => 1 / (s.cpu_limit || s.online_cpus), percent],
};

const unit = () => UNITS[choices.cpu] ?? UNITS.core;

export function cpu(value, stats) {
  const [,, factor, format] = unit();
  return figure(Number.isFinite(value) ? value * factor(stats) : value, format);
}

const peak = (text) => text && `peak ${text}`;

/** A column of two counters: their rates, and below them their totals. */
const pair = (key, head, label, rates, fields, more) => ({ key, head: () => head, label, fields, ...more,
  text: (s, { now }) => [
    ...rates.map((name, i) => (s[fields[i]] === undefined ? '' : figure(now[name], rate))),
    ...fields.map((field) => figure(s[field], decimal)),
  ],
  by: ({ calm }) => calm[rates[0]] + calm[rates[1]] });

// Windows with room for a row of a container, but not for all of its figures.
const NARROW = matchMedia('(760px <= width < 1091px)');
const NARROWER = matchMedia('(760px <= width < 900px)');
NARROW.onchange = NARROWER.onchange = () => choose({});

/**
 * The figures of a row. `text` gives what stands left and right of a slash, then the same below;
 * `spark` is the line beside it, at least `floor` high; `part` fills a bar; `by` is ordered by;
 * `off` tells that it is not shown unless chosen, or where.
 */
export const FIGURES = [
  { key: 'cpu', head: () => unit()[0], label: 'CPU', fields: ['cpu_percent'], spark: 'cpu', floor: 5,
    text: (s, t) => [cpu(s.cpu_percent, s), '', peak(cpu(t.peak.cpu, s))],
    by: ({ calm, last }) => calm.cpu * unit()[2](last) },
  { key: 'memory', head: () => 'MEM USAGE / LIMIT', label: 'Memory', fields: ['memory_usage', 'memory_limit'], spark: 'memory', floor: 1,
    text: (s, t) => [figure(s.memory_usage, binary), figure(s.memory_limit, binary), peak(figure(t.peak.memory, binary))],
    by: ({ calm }) => calm.memory },
  { key: 'share', head: () => 'MEM %', label: 'Mem %', fields: ['memory_percent'],
    off: NARROWER, text: (s) => [figure(s.memory_percent, percent)], part: (s) => s.memory_percent / 100,
    by: ({ calm }) => calm.share },
  pair('network', 'NET I/O', 'Network', ['rx', 'tx'], ['network_rx', 'network_tx'], { spark: 'network', floor: 1000 }),
  pair('block', 'BLOCK I/O', 'Disk', ['read', 'write'], ['block_read', 'block_write'], { off: NARROW }),
  { key: 'pids', head: () => 'PIDS', label: 'PIDs', fields: ['pids'], off: NARROWER, text: (s) => [figure(s.pids, String)],
    by: ({ calm }) => calm.pids },
];

/** The columns of words before them. */
export const WORDS = [
  { key: 'name', head: () => 'NAME', label: 'Name' },
  { key: 'id', head: () => 'CONTAINER ID', label: 'Container ID', off: true },
  { key: 'service', head: () => 'SERVICE', label: 'Service', off: true },
  { key: 'state', head: () => 'STATE', label: 'State' },
];

export const COLUMNS = [...WORDS, ...FIGURES];

export const isShown = ({ key, off }) => key === 'name' || (choices.columns[key] ?? !(off?.matches ?? off));

/** The column the order goes by, and whether the greatest comes first. */
export function order() {
  const down = choices.sort[0] === '-';
  const column = COLUMNS.find(({ key }) => key === choices.sort.slice(Number(down)));
  return column ? { column, down } : { column: COLUMNS[0], down: false };
}
