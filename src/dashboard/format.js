// Values to text, as `docker stats` writes them.

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

export const significant = (x, digits) => Number(x.toPrecision(digits));

function size(bytes, base, units, digits) {
  let unit = 0;
  for (; bytes >= base && unit < units.length - 1; unit += 1) bytes /= base;
  const shown = significant(bytes, digits);
  // Where the CLI writes 1e+03kB, this is 1MB.
  return base === 1000 && shown >= base ? `1${units[unit + 1]}` : shown + units[unit];
}

export const binary = (bytes) => size(bytes, 1024, BINARY, 4);
export const decimal = (bytes) => size(bytes, 1000, DECIMAL, 3);
export const rate = (bytes) => `${decimal(Math.round(bytes))}/s`;
export const percent = (x) => `${x.toFixed(2)}%`;

/** A figure as text: `--` where the engine reports none, nothing where there is no such figure. */
export function figure(value, format) {
  if (value === undefined) return '';
  return Number.isFinite(value) ? format(value) : '--';
}

/** A time of day, with its date where that is not today. */
export function clock(ms) {
  const at = new Date(ms);
  const time = at.toLocaleTimeString([], { hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

/** A stretch of time, in its largest unit. */
export function lasting(ms) {
  const s = ms / 1000;
  const [n, unit] = s < 60 ? [s, 's'] : s < 7200 ? [s / 60, 'min'] : s < 172800 ? [s / 3600, 'h'] : [s / 86400, 'days'];
  return `${Math.floor(Math.max(0, n))} ${unit}`;
}

/** Why a figure is missing; the keys are those of the wire. A phone shows what is before the colon. */
export const REASONS = {
  __proto__: null,
  memory_cgroup_disabled: 'no memory cgroup: it is off in the kernel',
  host_network: 'host network: the engine does not count it',
  first_sample: 'first sample: a rate needs two',
  not_running: 'not running',
  engine_error: 'engine error: no usable answer',
};

export const { compare } = new Intl.Collator(undefined, { numeric: true });
