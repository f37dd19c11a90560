/**
 * One Tab stop for a list of rows: Up and Down go from row to row, Left and Right between the buttons of one.
 * Rows are found anew at each key, so the list may change at any time.
 */
export function rove(list, rowSelector, buttonSelector) {
  const rows = () => [...list.querySelectorAll(rowSelector)].filter((row) => !row.hidden);
  const buttons = (row) => [...row.querySelectorAll(buttonSelector)];

  const settle = (chosen) => {
    const all = rows().flatMap(buttons);
    const reachable = all.includes(chosen) ? chosen : (all.find((button) => button.tabIndex === 0) ?? all[0]);
    all.forEach((button) => {
      button.tabIndex = button === reachable ? 0 : -1;
    });
  };

  list.addEventListener("focusin", ({ target }) => settle(target));
  list.addEventListener("keydown", (event) => {
    const all = rows();
    const row = event.target.closest(rowSelector);
    const at = all.indexOf(row);
    if (at < 0) return;
    const column = buttons(row).indexOf(event.target.closest(buttonSelector));
    const target = {
      ArrowDown: () => all[at + 1] && (buttons(all[at + 1])[column] ?? buttons(all[at + 1])[0]),
      ArrowUp: () => all[at - 1] && (buttons(all[at - 1])[column] ?? buttons(all[at - 1])[0]),
      ArrowRight: () => buttons(row)[column + 1],
      ArrowLeft: () => buttons(row)[column - 1],
      Home: () => buttons(all[0])[0],
      End: () => buttons(all.at(-1))[0],
    }[event.key];
    if (!target) return;
    event.preventDefault();
    target()?.focus();
  });
  return settle;
}
