// Elements made of text nodes: what comes from a server is never taken for markup.

/** An element. `props`: `class`, `on…` handlers, `data` (an object), properties of forms, and
 * attributes; null, undefined and false leave one out. Children: nodes, texts, nested arrays. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  add(node, children);
  return node;
}

/** Appends children as `el` takes them. */
export function add(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces what is in an element, where it isn't the same already, and keeps the focus. */
export function fill(node, ...children) {
  const fresh = node.cloneNode(false);
  add(fresh, children);
  if (fresh.isEqualNode(node)) return;
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const mark = focused?.dataset.focus ?? focused?.id;
  node.replaceChildren(...fresh.childNodes);
  if (mark) {
    const same = [...node.querySelectorAll("[data-focus], [id]")].find(
      (one) => (one.dataset.focus ?? one.id) === mark,
    );
    same?.focus({ preventScroll: true });
  }
}

/** A field with its name above it. */
export function field(id, label, input, kind = "") {
  return el("div", { class: `field ${kind}` }, el("label", { for: id }, label), input);
}

let ids = 0;

/** An id that no other element has. */
export function newId() {
  ids += 1;
  return `id-${ids}`;
}

/** A drawing of 20 by 20, for the eye only. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

const ICONS = {
  now: "M2.5 10.5h3l2-6 4 11 2.2-5h3.8",
  worklist: "M3 5h14M3 10h14M3 15h9",
  notifications: "M3 5.5h14v9H3zM3 6l7 5.5L17 6",
  studies: "M4 3h12v14H4zM7.5 7h5M7.5 10h5M7.5 13h3",
  good: "M4 10.5l4 4 8-9",
  bad: "M10 6v5M10 13.6v.2M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15",
  wait: "M10 5v5l3 2M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15",
  search: "M8.5 3.5a5 5 0 1 0 0 10 5 5 0 0 0 0-10M12.5 12.5l4 4",
  close: "M5 5l10 10M15 5L5 15",
  out: "M8 4H4v12h12v-4M11 4h5v5M16 4l-7 7",
};
