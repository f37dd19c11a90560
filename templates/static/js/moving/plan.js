import { longList } from "../controls/long-list.js";
import { h, icon } from "../dom.js";
import { fileName } from "../editing/edits.js";
import { reasonOf } from "../reason.js";
import { bytes, t, tn } from "../texts.js";

const SAMPLE = 6;
const PROBLEMS = 20;

/** A plan of moves as elements. `roots`: the library's roots, so that folders are named as the page names them. */
export function planNodes(plan, roots) {
  const moving = plan.results.filter(({ success, unchanged }) => success && !unchanged);
  const failing = plan.results.filter(({ success }) => !success).map((each) => ({ path: each.original_file_path, reason: reasonOf(each) }));
  const row = ({ original_file_path: from, new_file_path: to }) => h("li", { class: "plan__row" },
    h("span", { class: "plan__name", title: from }, fileName(from)),
    h("span", { class: "plan__change" }, h("del", { title: from }, folderName(from, roots)), h("span", { "aria-hidden": "true" }, "→"), h("ins", { title: to }, place(from, to, roots))));
  return [
    h("p", { class: "plan__lead" }, moving.length ? tn("move.willMove", moving.length, { size: bytes(plan.bytes) }) : t("move.nothing")),
    plan.copied_bytes > 0 && note(t("move.copies", { size: bytes(plan.copied_bytes) })),
    plan.clash_count > 0 && note(tn("move.clashes", plan.clash_count)),
    ...longList(moving, row, SAMPLE),
    ...notMoved(failing),
  ].filter(Boolean);
}

/** Names what is not moved, and why: `[{path, reason}]`. */
export function notMoved(failing) {
  if (!failing.length) return [];
  return [
    h("p", { class: "callout callout--bad", role: "alert" }, icon("alert"), h("span", {}, tn("move.notMoved", failing.length))),
    ...longList(failing, ({ path, reason }) => h("li", { class: "plan__row" }, h("span", { class: "plan__name", title: path }, fileName(path)), h("span", {}, reason)), PROBLEMS),
  ];
}

/** The root that holds `path`; null when none does. */
export function rootOf(path, roots) {
  return roots.map((root) => root.path).find((root) => path.startsWith(`${root}/`)) ?? null;
}

function note(text) {
  return h("p", { class: "edit__status" }, text);
}

function folderName(path, roots) {
  const root = rootOf(path, roots);
  const folder = path.slice(0, path.lastIndexOf("/"));
  return root === null ? folder : folder.slice(root.length + 1) || t("folders.root");
}

function place(from, to, roots) {
  const folder = folderName(to, roots);
  const root = rootOf(to, roots);
  const where = rootOf(from, roots) === root || root === null ? folder : `${root} · ${folder}`;
  return fileName(from) === fileName(to) ? where : `${where} / ${fileName(to)}`;
}
