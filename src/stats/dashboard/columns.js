// The columns of the table: header, content and sort key.

import { choices, choose } from './choices.js';
import { binary, decimal, formatValue, percent, rate } from './format.js';

/** CPU units: column header, label, factor for percent of one core, format. */
export const UNITS = {
  __proto__: null,
  core: ['CPU %', '% of one core', () => 1, percent],
  cores: ['CPU CORES', 'cores', () => 0.01, (x) => x.toFixed(2)],
  host: ['CPU % HOST', '% of the host', (s) => 1 / s.online_cpus, percent],
  limit: ['CPU % LIMIT', '% of the limit', (s) => 1 / (s.cpu_limit || s.online_cpus), percent],
};

const unit = () => UNITS[choices.cpu] ?? UNITS.core;

export function cpu(value, stats) {
  const [,, factor, format] = unit();
  return formatValue(Number.isFinite(value) ? value * factor(stats) : value, format);
}

const peak = (text) => text && `peak ${text}`;

/** A column of two counters, with the rates above the totals. */
const counterPair = (key, header, label, names, fields, more) => ({ key, header: () => header, label, fields, ...more,
  text: (s, { rates }) => [
    ...names.map((name, i) => (s[fields[i]] === undefined ? '' : formatValue(rates[name], rate))),
    ...fields.map((field) => formatValue(s[field], decimal)),
  ],
  sortKey: ({ smooth }) => smooth[names[0]] + smooth[names[1]] });

// Widths at which a row fits on one line, but not with all columns.
const NARROW = matchMedia('(760px <= width < 1091px)');
const NARROWER = matchMedia('(760px <= width < 900px)');
NARROW.onchange = NARROWER.onchange = () => choose({});

/**
 * The columns of numbers. `text` returns the values left and right of a slash, first for the upper
 * and then for the lower line; `spark` names the sparkline, with a scale of at least `floor`;
 * `fraction` fills a bar; `hidden` is true, or a media query, if the column is hidden by default.
 */
export const VALUE_COLUMNS = [
  { key: 'cpu', header: () => unit()[0], label: 'CPU', fields: ['cpu_percent'], spark: 'cpu', floor: 5,
    text: (s, t) => [cpu(s.cpu_percent, s), '', peak(cpu(t.peak.cpu, s))],
    sortKey: ({ smooth, last }) => smooth.cpu * unit()[2](last) },
  { key: 'memory', header: () => 'MEM USAGE / LIMIT', label: 'Memory', fields: ['memory_usage', 'memory_limit'], spark: 'memory', floor: 1,
    text: (s, t) => [formatValue(s.memory_usage, binary), formatValue(s.memory_limit, binary), peak(formatValue(t.peak.memory, binary))],
    sortKey: ({ smooth }) => smooth.memory },
  { key: 'share', header: () => 'MEM %', label: 'Mem %', fields: ['memory_percent'],
    hidden: NARROWER, text: (s) => [formatValue(s.memory_percent, percent)], fraction: (s) => s.memory_percent / 100,
    sortKey: ({ smooth }) => smooth.share },
  counterPair('network', 'NET I/O', 'Network', ['rx', 'tx'], ['network_rx', 'network_tx'], { spark: 'network', floor: 1000 }),
  counterPair('block', 'BLOCK I/O', 'Disk', ['read', 'write'], ['block_read', 'block_write'], { hidden: NARROW }),
  { key: 'pids', header: () => 'PIDS', label: 'PIDs', fields: ['pids'], hidden: NARROWER, text: (s) => [formatValue(s.pids, String)],
    sortKey: ({ smooth }) => smooth.pids },
];

/** The columns of text, to the left of the numbers. */
export const TEXT_COLUMNS = [
  { key: 'name', header: () => 'NAME', label: 'Name' },
  { key: 'id', header: () => 'CONTAINER ID', label: 'Container ID', hidden: true },
  { key: 'service', header: () => 'SERVICE', label: 'Service', hidden: true },
  { key: 'state', header: () => 'STATE', label: 'State' },
];

export const COLUMNS = [...TEXT_COLUMNS, ...VALUE_COLUMNS];

export const isShown = ({ key, hidden }) => key === 'name' || (choices.columns[key] ?? !(hidden?.matches ?? hidden));

/** The column to sort by, and the direction. */
export function sortOrder() {
  const descending = choices.sort[0] === '-';
  const column = COLUMNS.find(({ key }) => key === choices.sort.slice(Number(descending)));
  return column ? { column, descending } : { column: COLUMNS[0], descending: false };
}
