// What touches the page: as text, and only where it differs.

const ROLES = { tr: 'row', td: 'cell', th: 'rowheader', tbody: 'rowgroup' };

export const $ = (id) => document.getElementById(id);

/** Makes an element with these children; table parts that are laid out as grids need their role told. */
export function h(tag, className = '', ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (ROLES[tag]) made.setAttribute('role', ROLES[tag]);
  made.append(...children);
  return made;
}

/** A button in the table, which is one stop of the Tab key. */
export function button(className, text) {
  return Object.assign(h('button', className, text), { type: 'button', tabIndex: -1 });
}

/** An empty text; `write` fills it. */
export const blank = () => document.createTextNode('');

/** Everything shown passes here. */
export function write(node, text) {
  if (node.data !== text) node.data = text;
}

export function writeAttribute(node, name, value) {
  if (!value) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Puts `nodes`, and nothing else after `fixed` first ones, into `parent`, moving as few as it can. */
export function place(parent, nodes, fixed = 0) {
  const wanted = new Set(nodes);
  for (const node of [...parent.children].slice(fixed)) if (!wanted.has(node)) node.remove();
  let at = parent.children[fixed] ?? null;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    // The one before it goes elsewhere: it will be moved.
    else if (at?.nextElementSibling === node) at = node.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}

export function svg(tag, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  return made;
}

/** Lines over time with the area below each; a missing value is a gap. SVG is sharp at any scale. */
export function plot(width, height, lines = 1) {
  const node = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': true });
  const made = Array.from({ length: lines }, (_, i) => ['area', 'line'].map((name) =>
    node.appendChild(svg('path', { class: `${name} ${name}${i}` }))));
  return { node, draw(columns, times, span, most) {
    const to = times.at(-1);
    columns.forEach((values, n) => {
      let [line, area, first] = ['', '', null];
      // Columns that began later end with the others.
      for (let i = 0, late = times.length - values.length; i <= values.length; i += 1) {
        const known = Number.isFinite(values[i]) && times[i + late] >= to - span;
        if (!known && first !== null) {
          area += `V${height}H${first}Z`;
          first = null;
        }
        if (!known) continue;
        const x = (width * (1 - (to - times[i + late]) / span)).toFixed(1);
        const step = `${first === null ? 'M' : 'L'}${x} ${(height * (1 - values[i] / most)).toFixed(1)}`;
        line += step;
        area += step;
        first ??= x;
      }
      made[n][0].setAttribute('d', area);
      made[n][1].setAttribute('d', line);
    });
  } };
}
