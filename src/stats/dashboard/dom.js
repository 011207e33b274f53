// DOM helpers. They insert text only, never HTML, and write only what has changed.

const ROLES = { tr: 'row', td: 'cell', th: 'rowheader', tbody: 'rowgroup' };

export const $ = (id) => document.getElementById(id);

/** Creates an element with these children. Table elements that are laid out as grids need a role. */
export function h(tag, className = '', ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (ROLES[tag]) element.setAttribute('role', ROLES[tag]);
  element.append(...children);
  return element;
}

/** A button in the table. The Tab key reaches only one of these; see `setTabStop`. */
export function button(className, text) {
  return Object.assign(h('button', className, text), { type: 'button', tabIndex: -1 });
}

/** An empty text node, for `write`. */
export const blank = () => document.createTextNode('');

/** Sets the text of a text node. */
export function write(node, text) {
  if (node.data !== text) node.data = text;
}

export function writeAttribute(node, name, value) {
  if (!value) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Replaces the children of `parent` after the first `fixed` ones by `nodes`, with few moves. */
export function replaceChildren(parent, nodes, fixed = 0) {
  const wanted = new Set(nodes);
  for (const node of [...parent.children].slice(fixed)) if (!wanted.has(node)) node.remove();
  let at = parent.children[fixed] ?? null;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    // `at` itself belongs further down and is moved later.
    else if (at?.nextElementSibling === node) at = node.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}

export function svg(tag, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  return element;
}

/** A line chart over time with filled areas; missing values are gaps. */
export function plot(width, height, lines = 1) {
  const node = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': true });
  const paths = Array.from({ length: lines }, (_, i) => ['area', 'line'].map((name) =>
    node.appendChild(svg('path', { class: `${name} ${name}${i}` }))));
  return { node, draw(columns, times, span, max) {
    const to = times.at(-1);
    columns.forEach((values, n) => {
      let [line, area, first] = ['', '', null];
      // Shorter columns end with the others.
      for (let i = 0, offset = times.length - values.length; i <= values.length; i += 1) {
        const known = Number.isFinite(values[i]) && times[i + offset] >= to - span;
        if (!known && first !== null) {
          area += `V${height}H${first}Z`;
          first = null;
        }
        if (!known) continue;
        const x = (width * (1 - (to - times[i + offset]) / span)).toFixed(1);
        const step = `${first === null ? 'M' : 'L'}${x} ${(height * (1 - values[i] / max)).toFixed(1)}`;
        line += step;
        area += step;
        first ??= x;
      }
      paths[n][0].setAttribute('d', area);
      paths[n][1].setAttribute('d', line);
    });
  } };
}
