import { remember, remembered } from "./preferences.js";

/**
 * Every key of the page: the one table that the handlers and the overlay are made from, so that the overlay can't
 * list a key that does nothing. `single` keys are plain characters; people who dictate can switch them off.
 */
const TABLE = [
  { id: "search", group: "page", keys: ["/"], single: true },
  { id: "filters", group: "page", keys: ["f"], single: true },
  { id: "help", group: "page", keys: ["?"], single: true },

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

  { id: "details.previous", group: "details", keys: ["ArrowLeft"] },
  { id: "details.next", group: "details", keys: ["ArrowRight"] },
  { id: "details.veil", group: "details", keys: ["v"], single: true },
  { id: "details.copy", group: "details", keys: ["c"], single: true },
  { id: "details.close", group: "details", keys: ["Escape"] },
];

const handlers = new Map();
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
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return false;
  const row = TABLE.find((row) => row.group === group && row.keys.includes(event.key));
  if (!row || !handlers.has(row.id)) return false;
  if (row.single && (!singleKeys || isTyping(event.target))) return false;
  if (handlers.get(row.id)(event) === false) return false;
  event.preventDefault();
  return true;
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
