import { h, icon } from "../dom.js";
import { bind, run } from "../shortcuts.js";
import { t } from "../texts.js";

const MOVES = { ArrowLeft: "grid.left", ArrowRight: "grid.right", ArrowUp: "grid.up", ArrowDown: "grid.down" };

/** What each card of the grid can do besides opening its model: be chosen, and be a favourite. */
export function mountCards({ grid, root, source, selection, toggleFavorite }) {
  const tools = new WeakMap();

  // Cards are used again for other models, so this runs whenever they may show others.
  const draw = () => {
    for (const cell of root.querySelectorAll(".grid__row:not([hidden]) .cell:not([hidden])")) {
      if (!tools.has(cell)) tools.set(cell, new CardTools(cell));
      tools.get(cell).show(source.item(indexIn(cell)), selection);
    }
  };
  grid.addEventListener("drawn", draw);
  selection.addEventListener("change", () => {
    root.classList.toggle("grid--choosing", selection.on);
    if (selection.on) root.setAttribute("aria-multiselectable", "true");
    else root.removeAttribute("aria-multiselectable");
    draw();
  });

  const favorite = (index) => {
    const item = source.item(index);
    if (item) toggleFavorite(item);
  };

  // Before the grid's own listener, which opens the model.
  root.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell || event.button !== 0) return;
    const index = indexIn(cell);
    const onLink = event.target.closest("a.card") !== null;
    if (event.target.closest(".card__favorite")) favorite(index);
    else if (event.target.closest(".card__pick") || (onLink && (selection.on || event.shiftKey))) {
      if (event.shiftKey) selection.extend(index, grid.active);
      else selection.toggle(index);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    grid.activate(index, { reveal: false });
  }, true);
  // Shift and a click would mark text, and the active card must still be the one before the click.
  root.addEventListener("mousedown", (event) => {
    if (event.shiftKey && event.target.closest(".cell")) event.preventDefault();
  });

  bind("grid.favorite", () => favorite(grid.active));
  bind("grid.select", () => selection.toggle(grid.active));
  bind("grid.selectAll", () => {
    selection.all();
  });
  bind("grid.extend", ({ key }) => {
    const from = grid.active;
    run(MOVES[key]);
    selection.extend(grid.active, from);
  });
  bind("select.end", ({ target }) => {
    // Escape closes what is open first.
    if (!selection.on || document.querySelector(":popover-open") || target.closest("#search, #filters")) return false;
    selection.end();
    return true;
  });
}

function indexIn(cell) {
  return Number(cell.querySelector(".card").dataset.index);
}

/** The checkbox and the star of one card. Keys reach what they do from the card itself, so they are no stops for Tab. */
class CardTools {
  #cell;
  #pick = h("button", { class: "card__pick", type: "button", role: "checkbox", "aria-checked": "false", tabindex: "-1" }, icon("check"));
  #favorite = h("button", { class: "card__favorite", type: "button", tabindex: "-1" }, icon("star"));
  #shown = "";

  constructor(cell) {
    this.#cell = cell;
    cell.querySelector(".card").draggable = true;
    cell.append(this.#pick, this.#favorite);
  }

  show(item, selection) {
    const chosen = item !== null && selection.has(item.file_path);
    const now = item ? `${item.model_name}\n${Boolean(item.favorite)} ${chosen} ${selection.on}` : "";
    if (now === this.#shown) return;
    this.#shown = now;
    this.#pick.hidden = this.#favorite.hidden = item === null;
    this.#cell.classList.toggle("cell--chosen", chosen);
    if (selection.on && item) this.#cell.setAttribute("aria-selected", String(chosen));
    else this.#cell.removeAttribute("aria-selected");
    if (!item) return;
    this.#pick.setAttribute("aria-checked", String(chosen));
    this.#pick.setAttribute("aria-label", t("select.model", { name: item.model_name }));
    this.#favorite.setAttribute("aria-pressed", String(Boolean(item.favorite)));
    const label = t("edit.favorite", { name: item.model_name });
    this.#favorite.setAttribute("aria-label", label);
    this.#favorite.title = label;
  }
}
