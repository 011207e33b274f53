// Formats values as text, as in `docker stats`.

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

export const significant = (x, digits) => Number(x.toPrecision(digits));

function size(bytes, base, units, digits) {
  let unit = 0;
  for (; bytes >= base && unit < units.length - 1; unit += 1) bytes /= base;
  const shown = significant(bytes, digits);
  // The CLI would write 1e+03kB; write 1MB.
  return base === 1000 && shown >= base ? `1${units[unit + 1]}` : shown + units[unit];
}

export const binary = (bytes) => size(bytes, 1024, BINARY, 4);
export const decimal = (bytes) => size(bytes, 1000, DECIMAL, 3);
export const rate = (bytes) => `${decimal(Math.round(bytes))}/s`;
export const percent = (x) => `${x.toFixed(2)}%`;

/** Formats a value: `--` if it is unknown, an empty string if it does not apply. */
export function formatValue(value, format) {
  if (value === undefined) return '';
  return Number.isFinite(value) ? format(value) : '--';
}

/** Formats a duration in its largest unit. */
export function duration(ms) {
  const s = ms / 1000;
  const [n, unit] = s < 60 ? [s, 's'] : s < 7200 ? [s / 60, 'min'] : s < 172800 ? [s / 3600, 'h'] : [s / 86400, 'days'];
  return `${Math.floor(Math.max(0, n))} ${unit}`;
}

/** Why a value is missing, by the key on the wire. A narrow screen shows the part before the colon. */
export const REASONS = {
  __proto__: null,
  memory_cgroup_disabled: 'no memory cgroup: disabled in the kernel',
  host_network: 'host network: traffic is not counted',
  first_sample: 'first sample: a rate needs two samples',
  not_running: 'not running',
  engine_error: 'engine error: no usable response',
};

export const { compare } = new Intl.Collator(undefined, { numeric: true });
