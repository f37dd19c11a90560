import { debounce, h } from "../dom.js";
import { layout, visibleRows } from "./geometry.js";
import { Rows } from "./rows.js";
import { ScrollScale } from "./scroll-scale.js";

const SPARE = 1;
const RESTED = 110;

/**
 * The windowed grid: a scrolled element of the list's height (or of as much as a browser can take), with only the
 * rows in it that can be seen. Events: `active` when the card that Tab reaches changed, `drawn` when cards may show
 * other models than before.
 */
export class Grid extends EventTarget {
  #scroller;
  #root;
  #source;
  #scale = new ScrollScale();
  #rows;
  #shape = layout(0, 0, "medium");
  #tile;
  #active = 0;
  #frame = 0;
  #lastTop = 0;
  #rest = debounce(RESTED, () => this.#rested());

  constructor({ scroller, root, source, state, tile }) {
    super();
    this.#scroller = scroller;
    this.#root = root;
    this.#source = source;
    this.#tile = tile;
    const inner = h("div", { class: "grid__rows", role: "presentation" });
    root.append(inner);
    this.#rows = new Rows(inner, state);

    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(scroller);
    source.addEventListener("total", () => this.#measure());
    source.addEventListener("items", () => this.#draw());
  }

  get active() {
    return this.#active;
  }

  get columns() {
    return this.#shape.columns;
  }

  /** Whole rows that fit, for Page Up and Page Down. */
  get rowsPerPage() {
    return Math.max(1, Math.floor(this.#scroller.clientHeight / this.#shape.rowHeight));
  }

  get focused() {
    return this.#root.contains(document.activeElement);
  }

  setTile(tile) {
    const keep = this.#firstSeen();
    this.#tile = tile;
    this.#measure();
    this.reveal(keep, "start");
  }

  /** For a new question: from the top, with skeletons until the first answer. */
  reset() {
    this.#active = 0;
    this.#scrollTo(0);
    this.#measure();
  }

  card(index) {
    return this.#rows.card(index);
  }

  /** Makes `index` the card that Tab reaches, brings it into view and focuses it, unless told otherwise. */
  activate(index, { focus = true, reveal = true } = {}) {
    const last = (this.#source.total ?? 1) - 1;
    this.#active = Math.min(last, Math.max(0, index));
    if (reveal) this.reveal(this.#active);
    this.#draw();
    if (focus) this.#rows.card(this.#active)?.link.focus({ preventScroll: true });
    this.dispatchEvent(new CustomEvent("active", { detail: this.#active }));
  }

  /** Scrolls as little as needed to show the row of `index`, or puts it at the top for `start`. */
  reveal(index, where = "nearest") {
    const { rowHeight, columns } = this.#shape;
    const top = Math.floor(index / columns) * rowHeight;
    const view = this.#scroller.clientHeight - this.#inset;
    if (where === "start" || top < this.#scale.top) this.#scrollTo(top);
    else if (top + rowHeight > this.#scale.top + view) this.#scrollTo(top + rowHeight - view);
  }

  // The scroller's own padding takes part in its scroll height.
  get #inset() {
    const { paddingTop, paddingBottom } = getComputedStyle(this.#scroller);
    return parseFloat(paddingTop) + parseFloat(paddingBottom);
  }

  #firstSeen() {
    return Math.ceil(Math.max(0, this.#scale.top - 1) / this.#shape.rowHeight) * this.#shape.columns;
  }

  #measure() {
    // Scrollbars take room on some systems and none on others; the margin beside the cards is to be the same.
    this.#scroller.style.setProperty("--scrollbar", `${this.#scroller.offsetWidth - this.#scroller.clientWidth}px`);
    const total = this.#source.total;
    const viewport = this.#scroller.clientHeight - this.#inset;
    let shape = layout(this.#root.clientWidth, total ?? 0, this.#tile);
    if (total === null) shape = layout(this.#root.clientWidth, shape.columns * Math.ceil(viewport / shape.rowHeight), this.#tile);
    const refocus = this.focused && shape.columns !== this.#shape.columns;
    this.#shape = shape;
    this.#rows.setColumns(shape.columns);
    this.#scale.resize(shape.height - shape.gap, viewport);
    this.#root.dataset.tile = this.#tile;
    this.#root.style.setProperty("--columns", shape.columns);
    this.#root.style.setProperty("--gap", `${shape.gap}px`);
    this.#root.style.setProperty("--media-height", `${shape.mediaHeight}px`);
    this.#root.style.height = `${this.#scale.range}px`;
    this.#root.setAttribute("aria-rowcount", total === null ? -1 : shape.rows);
    this.#root.setAttribute("aria-colcount", shape.columns);
    this.#root.setAttribute("aria-busy", total === null);
    if (total !== null) this.#active = Math.min(this.#active, Math.max(0, total - 1));
    if (refocus) this.activate(this.#active);
    else this.#draw();
  }

  #scrolled() {
    const correction = this.#scale.scrolled(this.#scroller.scrollTop);
    if (correction !== null) this.#anchor(correction);
    this.#rest();
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #rested() {
    const correction = this.#scale.rest();
    if (correction !== null) this.#anchor(correction);
    this.#lastTop = this.#scale.top;
    // Tab should go to what is seen, not back to where the focus was long ago.
    if (!this.focused && !this.#seen(this.#active)) this.#active = Math.min(this.#firstSeen(), Math.max(0, (this.#source.total ?? 1) - 1));
    this.#draw();
  }

  #seen(index) {
    const top = Math.floor(index / this.#shape.columns) * this.#shape.rowHeight;
    return top >= this.#scale.top && top < this.#scale.top + this.#scroller.clientHeight;
  }

  #scrollTo(top) {
    this.#anchor(this.#scale.moveTo(top));
    this.#lastTop = this.#scale.top;
    this.#rest();
  }

  #anchor(physical) {
    this.#scroller.scrollTop = physical;
    this.#scale.anchored(this.#scroller.scrollTop);
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { columns, rowHeight } = this.#shape;
    const viewport = this.#scroller.clientHeight;
    const { first, last } = visibleRows(this.#shape, this.#scale.top, viewport, SPARE);
    const wanted = [];
    for (let row = first; row <= last; row += 1) wanted.push(row);
    // The focused card stays in the document when it is scrolled away, or the focus would be lost.
    const pinned = Math.floor(this.#active / columns);
    if (this.focused && this.#source.total && (pinned < first || pinned > last)) wanted[pinned < first ? "unshift" : "push"](pinned);

    const fast = Math.abs(this.#scale.top - this.#lastTop) > viewport;
    const total = this.#source.total;
    this.#rows.render(wanted, {
      place: (row) => row * rowHeight - this.#scale.offset,
      itemAt: (index) => this.#source.item(index),
      count: total ?? this.#shape.rows * columns,
      media: !fast,
      width: this.#shape.cardWidth,
    });
    this.#rows.setReachable(this.#active);
    this.dispatchEvent(new Event("drawn"));
    if (!fast && total) this.#source.look(first * columns, (last + 1) * columns - 1);
    this.#lastTop += (this.#scale.top - this.#lastTop) / 2;
  }
}
