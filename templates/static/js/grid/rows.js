import { h } from "../dom.js";
import { Card } from "./card.js";

const SPARE_ROWS = 12;

/**
 * The rows that are in the document: as many as can be seen and a few more, however long the list is. A row that
 * leaves on one side is given new cards to show on the other.
 */
export class Rows {
  #state;
  #root;
  #shown = new Map();
  #idle = [];
  #columns = 0;

  constructor(root, state) {
    this.#root = root;
    this.#state = state;
  }

  /** Forgets all rows when their number of columns no longer fits. */
  setColumns(columns) {
    if (columns === this.#columns) return;
    this.#columns = columns;
    for (const row of [...this.#shown.values(), ...this.#idle]) row.cards.forEach((card) => card.dispose());
    this.#shown.clear();
    this.#idle = [];
    this.#root.replaceChildren();
  }

  /**
   * Makes exactly the rows `wanted` (ascending) be there. `place(row)` is a row's top, `itemAt(index)` an item or null,
   * `count` the number of items in all, `width` that of a card in pixels.
   */
  render(wanted, { place, itemAt, count, media, width }) {
    const keep = new Set(wanted);
    for (const [number, row] of this.#shown) {
      if (keep.has(number)) continue;
      this.#shown.delete(number);
      this.#idle.push(row);
      row.element.hidden = true;
    }
    let after = null;
    for (const number of wanted) {
      const row = this.#shown.get(number) ?? this.#take(number, after);
      row.element.style.transform = `translateY(${place(number)}px)`;
      this.#fill(row, number, { itemAt, count, media, width });
      after = row.element;
    }
    while (this.#idle.length > SPARE_ROWS) {
      const row = this.#idle.pop();
      row.cards.forEach((card) => card.dispose());
      row.element.remove();
    }
  }

  card(index) {
    return this.#shown.get(Math.floor(index / this.#columns))?.cards[index % this.#columns] ?? null;
  }

  /** Only the card at `index` can be reached with Tab. */
  setReachable(index) {
    for (const [number, row] of this.#shown) {
      row.cards.forEach((card, column) => {
        card.link.tabIndex = number * this.#columns + column === index ? 0 : -1;
      });
    }
  }

  // Rows stand in the document in the order of the list, for everything that reads it in that order.
  #take(number, after) {
    const row = this.#idle.pop() ?? this.#make();
    row.element.hidden = false;
    row.element.setAttribute("aria-rowindex", number + 1);
    if (after) after.after(row.element);
    else this.#root.prepend(row.element);
    this.#shown.set(number, row);
    return row;
  }

  #make() {
    const cards = Array.from({ length: this.#columns }, () => new Card(this.#state, "gridcell"));
    cards.forEach((card, column) => card.element.setAttribute("aria-colindex", column + 1));
    return { cards, element: h("div", { class: "grid__row", role: "row" }, cards.map((card) => card.element)) };
  }

  #fill(row, number, { itemAt, count, media, width }) {
    row.cards.forEach((card, column) => {
      const index = number * this.#columns + column;
      card.element.hidden = index >= count;
      card.link.dataset.index = index;
      if (index < count) card.show(itemAt(index), media, width);
    });
  }
}
