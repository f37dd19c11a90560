import { isAbort } from "../api.js";
import { openDialog } from "../controls/dialog.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { moment, number, t, tn } from "../texts.js";
import { fileName } from "./edits.js";

const PAGE = 50;
const NAMED = 3;

/** What was done to the library, newest first; each act can be taken back. */
export function openHistory(edits) {
  const list = h("ol", { class: "history__list" });
  const note = h("p", { class: "history__note", role: "status" }, t("details.loading"));
  const more = h("button", { class: "button button--quiet", type: "button", hidden: true, onclick: () => load() });
  let acts = [];
  let total = 0;
  let asking = null;

  const draw = () => {
    const focused = list.contains(document.activeElement) ? document.activeElement.closest("li").dataset.id : null;
    const byId = new Map(acts.map((act) => [act.id, act]));
    list.replaceChildren(...acts.map((act) => row(act, byId, takeBack)));
    note.textContent = acts.length ? "" : t("history.none");
    more.hidden = acts.length >= total;
    more.textContent = t("groups.more", { n: number(total - acts.length) });
    const again = focused && list.querySelector(`[data-id="${CSS.escape(focused)}"]`);
    (again?.querySelector("button") ?? (focused ? list.querySelector("button") : null))?.focus();
  };
  const load = async (fresh = false) => {
    asking?.abort();
    const { signal } = (asking = new AbortController());
    try {
      const answer = await edits.history(fresh ? 0 : acts.length, fresh ? Math.max(PAGE, Math.min(500, acts.length)) : PAGE, signal);
      const known = new Set(fresh ? [] : acts.map(({ id }) => id));
      acts = [...(fresh ? [] : acts), ...answer.acts.filter(({ id }) => !known.has(id))];
      total = answer.total;
      draw();
    } catch (error) {
      if (!isAbort(error)) note.textContent = t("history.failed", { reason: reasonOf(error) });
    }
  };
  const takeBack = async (act, place) => {
    place.replaceChildren(t("undo.running"));
    try {
      const { restored, conflicts } = await edits.undo(act.id);
      await load(true);
      if (conflicts.length) list.querySelector(`[data-id="${act.id}"] .history__outcome`)?.replaceChildren(...named(restored.length, conflicts));
    } catch (error) {
      place.replaceChildren(h("span", { class: "edit__error", role: "alert" }, reasonOf(error)));
    }
  };

  // What is done elsewhere meanwhile belongs in the list too.
  const follow = () => load(true);
  edits.addEventListener("changed", follow);
  openDialog({
    title: t("history.title"),
    className: "history",
    outside: true,
    onClose: () => {
      edits.removeEventListener("changed", follow);
      asking?.abort();
    },
  },
    h("p", { class: "history__lead" }, t("history.lead")),
    note, list, more,
  );
  load();
}

function row(act, acts, takeBack) {
  const outcome = h("div", { class: "history__outcome", "aria-live": "polite" });
  const what = kindOf(act, acts);
  const names = act.models.slice(0, NAMED).map(fileName).join(", ");
  const button = t(act.undoes ? "undo.redo" : "undo.undo");
  const rest = act.count - Math.min(NAMED, act.models.length);
  return h("li", { class: "history__act", "data-id": act.id },
    h("div", { class: "history__what" },
      h("span", { class: "history__kind" }, what),
      h("time", { class: "history__time", datetime: new Date(act.at * 1000).toISOString() }, moment(new Date(act.at * 1000))),
      h("span", { class: "history__names", title: act.models.join("\n") }, names, rest > 0 && ` ${tn("history.rest", rest)}`),
      outcome),
    act.can_undo
      ? h("button", { class: "button button--quiet button--small", type: "button", "aria-label": t("history.undo", { act: button, what, name: names }), onclick: () => takeBack(act, outcome) }, icon("undo"), button)
      : h("span", { class: "history__undone" }, t("history.undone")));
}

function kindOf(act, acts) {
  const kind = tn(`history.kind.${act.kind}`, act.count);
  const undone = act.undoes && acts.get(act.undoes);
  return undone ? t("history.undoOf", { what: tn(`history.kind.${undone.kind}`, undone.count) }) : kind;
}

function named(restored, conflicts) {
  return [
    h("p", { class: "edit__error", role: "alert" }, tn("undo.conflictCount", conflicts.length, { done: number(restored) })),
    h("ul", { class: "plan__rows" }, conflicts.map(({ error }) => h("li", { class: "plan__row" }, error))),
  ];
}
