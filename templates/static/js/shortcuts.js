import { remember, remembered } from "./preferences.js";

/**
 * Every key of the page: the one table that the handlers and the overlay are made from, so that the overlay can't
 * list a key that does nothing. `single` keys are plain characters; people who dictate can switch them off. `ctrl` keys
 * are pressed with Ctrl or Cmd, `shift` keys with Shift.
 */
const TABLE = [
  { id: "search", group: "page", keys: ["/"], single: true },
  { id: "filters", group: "page", keys: ["f"], single: true },
  { id: "downloads", group: "page", keys: ["d"], single: true },
  { id: "help", group: "page", keys: ["?"], single: true },
  { id: "undo", group: "page", keys: ["z"], ctrl: true },
  { id: "select.end", group: "page", keys: ["Escape"] },

  { id: "grid.left", group: "grid", keys: ["ArrowLeft"] },
  { id: "grid.right", group: "grid", keys: ["ArrowRight"] },
  { id: "grid.up", group: "grid", keys: ["ArrowUp"] },
  { id: "grid.down", group: "grid", keys: ["ArrowDown"] },
  { id: "grid.first", group: "grid", keys: ["Home"] },
  { id: "grid.last", group: "grid", keys: ["End"] },
  { id: "grid.pageUp", group: "grid", keys: ["PageUp"] },
  { id: "grid.pageDown", group: "grid", keys: ["PageDown"] },
  { id: "grid.open", group: "grid", keys: ["Enter"] },
  { id: "grid.veil", group: "grid", keys: ["v"], single: true },
  { id: "grid.favorite", group: "grid", keys: ["s"], single: true },
  { id: "grid.select", group: "grid", keys: [" "] },
  { id: "grid.extend", group: "grid", keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], shift: true },
  { id: "grid.selectAll", group: "grid", keys: ["a"], ctrl: true },
  { id: "grid.menu", group: "grid", keys: ["F10"], shift: true },
  { id: "grid.rename", group: "grid", keys: ["F2"] },
  { id: "grid.move", group: "grid", keys: ["m"], single: true },
  { id: "grid.delete", group: "grid", keys: ["Delete"] },

  { id: "details.previous", group: "details", keys: ["ArrowLeft"] },
  { id: "details.next", group: "details", keys: ["ArrowRight"] },
  { id: "details.veil", group: "details", keys: ["v"], single: true },
  { id: "details.copy", group: "details", keys: ["c"], single: true },
  { id: "details.favorite", group: "details", keys: ["s"], single: true },
  { id: "details.undo", group: "details", keys: ["z"], ctrl: true },
  { id: "details.close", group: "details", keys: ["Escape"] },
];

const handlers = new Map();

// Keys that do the same again while they are held; all others act once.
const REPEATED = /^(Arrow|Page)/;
// The key that ran a shortcut, as long as it is held: it must not be typed where the focus went by it.
let held = null;
addEventListener("keydown", (event) => {
  if (!event.repeat) held = null;
  else if (event.code === held) {
    event.preventDefault();
    event.stopPropagation();
  }
}, true);

let singleKeys = remembered("single-keys", "on", ["on", "off"]) === "on";

export function singleKeysOn() {
  return singleKeys;
}

export function setSingleKeys(on) {
  singleKeys = on;
  remember("single-keys", on ? null : "off");
}

/** Sets what `id` does. The handler may return false to leave the key to the browser. */
export function bind(id, handler) {
  handlers.set(id, handler);
}

/** The table's rows that do something, in groups, for the overlay. */
export function boundShortcuts() {
  const groups = new Map();
  for (const row of TABLE) {
    if (handlers.has(row.id)) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  }
  return groups;
}

/** Runs the handler of `group` for the key of `event`; says whether there was one. */
export function dispatch(event, group) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return false;
  const ctrl = event.ctrlKey || event.metaKey;
  const rows = TABLE.filter((row) => row.group === group && row.keys.includes(event.key) && Boolean(row.ctrl) === ctrl);
  const row = rows.find((row) => row.shift && event.shiftKey) ?? rows.find((row) => !row.shift);
  if (!row || !handlers.has(row.id)) return false;
  if (row.single && !singleKeys) return false;
  if ((row.single || row.ctrl) && isTyping(event.target)) return false;
  if (event.repeat && !REPEATED.test(event.key)) {
    event.preventDefault();
    return false;
  }
  if (handlers.get(row.id)(event) === false) return false;
  event.preventDefault();
  if (!REPEATED.test(event.key)) held = event.code;
  return true;
}

/** Runs what `id` does, as if its key had been pressed. */
export function run(id) {
  handlers.get(id)?.();
}

/** Whether keys that are pressed in `target` are text. */
export function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
