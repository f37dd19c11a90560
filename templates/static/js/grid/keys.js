import { bind, dispatch } from "../shortcuts.js";

/** Moves the focus through the grid and opens the details of the card it is on. */
export function bindGridKeys(grid, root, source, open) {
  const move = (step) => () => {
    const target = grid.active + step();
    if (target < 0 || target >= source.total) return;
    grid.activate(target);
  };
  const clamped = (step) => () => grid.activate(grid.active + step());

  bind("grid.left", move(() => -1));
  bind("grid.right", move(() => 1));
  bind("grid.up", move(() => -grid.columns));
  bind("grid.down", () => {
    const target = grid.active + grid.columns;
    // The row below may be shorter: then its last card, not nothing.
    const hasRowBelow = Math.floor(grid.active / grid.columns) < Math.floor((source.total - 1) / grid.columns);
    if (hasRowBelow) grid.activate(target);
  });
  bind("grid.first", clamped(() => -Infinity));
  bind("grid.last", clamped(() => Infinity));
  bind("grid.pageUp", clamped(() => -grid.columns * grid.rowsPerPage));
  bind("grid.pageDown", clamped(() => grid.columns * grid.rowsPerPage));
  bind("grid.open", () => open(grid.active));
  bind("grid.veil", () => grid.card(grid.active)?.toggleVeil());

  root.addEventListener("keydown", (event) => {
    if (event.target.closest(".card")) dispatch(event, "grid");
  });
  // A click or a screen reader's own focus moves the roving card too. The list must not move under a pointer that is
  // down, or the click is lost; where the focus is out of sight, the browser itself scrolls.
  root.addEventListener("focusin", ({ target }) => {
    const index = Number(target.closest(".card")?.dataset.index ?? NaN);
    if (!Number.isNaN(index) && index !== grid.active) grid.activate(index, { focus: false, reveal: false });
  });
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a.card");
    // With a modifier the browser opens the address in a tab of its own.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    open(Number(link.dataset.index));
  });
}
