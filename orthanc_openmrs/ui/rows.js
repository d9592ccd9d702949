// A table of thousands of rows of which only those in sight are in the document.
import { el } from "./dom.js";
import { t } from "./texts.js";

const BEYOND = 8; // rows above and below what is in sight
const PRINTED = 2_000; // rows of a list that is printed

/** `columns`: {key, label, sort} each; `key` of an item tells it from others; `cells` gives the
 * content of a row's cells; `open` is called with an item that a person opens. */
export class Rows {
  constructor({ caption, columns, key, cells, open }) {
    this.items = [];
    this.order = { column: null, descending: false };
    this.onSort = () => {};
    this._columns = columns;
    this._key = key;
    this._cells = cells;
    this._open = open;
    this._rows = new Map(); // key → {row, stamp}
    this._body = el("tbody", { role: "rowgroup", onkeydown: (event) => this._step(event) });
    this._heads = columns.map((column, at) =>
      el(
        "th",
        { role: "columnheader", scope: "col", class: `c-${column.key}`, "aria-colindex": at + 1 },
        column.sort
          ? el("button", { type: "button", class: "sort", onclick: () => this._sort(column) }, column.label)
          : column.label,
      ),
    );
    this.node = el(
      "table",
      { role: "table", class: "rows", "aria-label": caption },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row", "aria-rowindex": 1 }, this._heads)),
      this._body,
    );
    this._later = 0;
    this._onPrint = (event) => this.draw(event.type === "beforeprint");
    this._onScroll = () => {
      cancelAnimationFrame(this._later);
      this._later = requestAnimationFrame(() => this.draw());
    };
  }

  /** Starts to follow the person's scrolling. */
  follow() {
    addEventListener("scroll", this._onScroll, { passive: true });
    addEventListener("resize", this._onScroll);
    addEventListener("beforeprint", this._onPrint);
    addEventListener("afterprint", this._onPrint);
  }

  /** Ends it. */
  leave() {
    removeEventListener("scroll", this._onScroll);
    removeEventListener("resize", this._onScroll);
    removeEventListener("beforeprint", this._onPrint);
    removeEventListener("afterprint", this._onPrint);
    cancelAnimationFrame(this._later);
  }

  /** Shows other items, in this order. */
  show(items) {
    this.items = items;
    this.node.setAttribute("aria-rowcount", items.length + 1);
    for (const [at, column] of this._columns.entries()) {
      const chosen = this.order.column === column.key;
      const word = this.order.descending ? "descending" : "ascending";
      if (chosen) this._heads[at].setAttribute("aria-sort", word);
      else this._heads[at].removeAttribute("aria-sort");
    }
    this.draw();
  }

  /** Draws the rows in sight; a row whose item is the same stays as it is, and so does the one
   * that has the focus, wherever it is. */
  draw(whole = false) {
    if (!this.node.isConnected) return;
    const height = parseFloat(getComputedStyle(this.node).getPropertyValue("--row"));
    const top = this._body.getBoundingClientRect().top;
    const first = whole ? 0 : Math.max(0, Math.floor(-top / height) - BEYOND);
    const end = whole ? PRINTED : Math.ceil((innerHeight - top) / height) + BEYOND;
    const last = Math.min(this.items.length, end);
    const places = [];
    for (let at = first; at < last; at += 1) places.push(at);
    const focused = this._focused();
    const kept = focused ? this.items.findIndex((item) => this._key(item) === focused) : -1;
    if (kept >= 0 && kept < first) places.unshift(kept);
    if (kept >= Math.max(first, last)) places.push(kept);

    const nodes = [];
    const used = new Map();
    let next = 0;
    for (const at of places) {
      if (at > next) nodes.push(gap((at - next) * height));
      nodes.push(this._row(at, used));
      next = at + 1;
    }
    if (next < this.items.length) nodes.push(gap((this.items.length - next) * height));
    this._rows = used;
    replace(this._body, nodes);
  }

  _focused() {
    const active = document.activeElement;
    return this._body.contains(active) ? active.closest("tr")?.dataset.key : undefined;
  }

  _row(at, used) {
    const item = this.items[at];
    const key = this._key(item);
    const stamp = JSON.stringify(item);
    let known = this._rows.get(key);
    if (!known) {
      const row = el("tr", {
        role: "row",
        data: { key },
        onclick: (event) => {
          if (event.target.closest("a")) return;
          row.querySelector("button.open")?.focus({ preventScroll: true });
          this._open(this.items[Number(row.getAttribute("aria-rowindex")) - 2]);
        },
      });
      known = { row, stamp: null };
    }
    if (known.stamp !== stamp) {
      const had = known.row.contains(document.activeElement);
      const cells = this._cells(item);
      known.row.replaceChildren(
        ...this._columns.map((column, index) =>
          el(
            "td",
            { role: "cell", class: `c-${column.key}`, "aria-colindex": index + 1 },
            cells[index],
          ),
        ),
      );
      known.stamp = stamp;
      if (had) known.row.querySelector("button.open")?.focus({ preventScroll: true });
    }
    known.row.setAttribute("aria-rowindex", at + 2);
    used.set(key, known);
    return known.row;
  }

  _sort(column) {
    const again = this.order.column === column.key;
    this.order = { column: column.key, descending: again && !this.order.descending };
    this.onSort();
  }

  /** Arrow keys go from row to row; one that isn't drawn yet, for keys came faster than the
   * screen, is drawn at once. */
  _step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr");
    if (!by || !row) return;
    const item = this.items[Number(row.getAttribute("aria-rowindex")) - 2 + by];
    if (!item) return;
    event.preventDefault();
    const drawn = () => this._rows.get(this._key(item))?.row;
    if (!drawn()?.isConnected) {
      row.scrollIntoView({ block: "nearest", behavior: "instant" });
      scrollBy({ top: by * row.offsetHeight, behavior: "instant" });
      this.draw();
    }
    const button = drawn()?.querySelector("button.open");
    button?.focus({ preventScroll: true });
    button?.scrollIntoView({ block: "nearest", behavior: "instant" });
  }
}

/** The button that opens a row, with its name. */
export function opener(label, ...more) {
  return el("button", { type: "button", class: "open", title: t("open") }, label, ...more);
}

function gap(height) {
  const row = el("tr", { class: "gap", "aria-hidden": "true" }, el("td", {}));
  row.style.setProperty("height", `${height}px`);
  return row;
}

/** Makes these the children, and moves none that is in its place already (a moved node loses the
 * focus). */
function replace(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}
