import { isAbort } from "../api.js";
import { openDialog } from "../controls/dialog.js";
import { longList } from "../controls/long-list.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { number, t, tn } from "../texts.js";
import { fileName } from "./edits.js";
import { split } from "./editor.js";
import { baseFinder, suggest, tagFinder } from "./suggestions.js";

const SAMPLE = 5;
const PROBLEMS = 20;

/** What can be done with many models after its plan was seen. `change(text)` is the change, or null for no input. */
const KINDS = {
  addTags: { find: tagFinder, many: true, change: (text) => listed("add_tags", text) },
  removeTags: { find: tagFinder, many: true, change: (text) => listed("remove_tags", text) },
  base: { find: baseFinder, atFocus: true, change: (text) => (text ? { set: { base_model: text } } : null) },
};

function listed(key, text) {
  const tags = split(text);
  return tags.length ? { [key]: tags } : null;
}

/**
 * Asks for the value, shows what would change, and changes it when that is confirmed. What could not be changed is named,
 * and the dialog stays.
 */
export function bulkDialog(name, { paths, edits, api }) {
  const kind = KINDS[name];
  const input = h("input", { class: "edit__input", type: "text", id: "bulk-value", autocomplete: "off", spellcheck: "false" });
  const outcome = h("div", { class: "plan", "aria-live": "polite" });
  const go = h("button", { class: "button button--filled", type: "submit" }, t("plan.show"));
  const close = () => dialog.close();
  let planned = null;
  let asking = null;

  const reset = () => {
    asking?.abort();
    busy(false);
    planned = null;
    outcome.replaceChildren();
    go.textContent = t("plan.show");
    go.disabled = !kind.change(input.value.trim());
  };
  // Without `disabled`, which would take the focus from the button.
  const busy = (yes) => {
    go.setAttribute("aria-disabled", String(yes));
    outcome.setAttribute("aria-busy", String(yes));
  };
  const fail = (error) => outcome.replaceChildren(problem(t("plan.failed", { reason: reasonOf(error) })));

  const plan = async () => {
    const change = kind.change(input.value.trim());
    if (!change) return;
    const { signal } = (asking = new AbortController());
    busy(true);
    outcome.replaceChildren(h("p", {}, t("plan.asking")));
    try {
      const results = await edits.plan(paths, change, signal);
      const changing = results.filter(({ success, changes }) => success && changes.length);
      const failing = results.filter(({ success }) => !success);
      outcome.replaceChildren(...planOf(changing, failing, paths.length));
      if (changing.length) {
        planned = { change, count: changing.length };
        go.textContent = tn("plan.do", changing.length);
      }
      busy(false);
      go.disabled = !changing.length;
      if (go.disabled) input.focus();
    } catch (error) {
      if (isAbort(error)) return;
      busy(false);
      fail(error);
    }
  };
  const make = async () => {
    busy(true);
    outcome.prepend(h("p", {}, t("edit.saving")));
    try {
      const failed = await edits.many(paths, planned.change);
      if (!failed.length) {
        close();
        return;
      }
      reset();
      outcome.replaceChildren(...failures(failed));
    } catch (error) {
      reset();
      fail(error);
    }
  };

  input.addEventListener("input", reset);
  const dialog = openDialog({ title: tn(`plan.${name}`, paths.length), className: "bulk-dialog", onClose: () => asking?.abort() },
    h("form", { class: "bulk-dialog__form", onsubmit: (event) => {
      event.preventDefault();
      if (go.getAttribute("aria-disabled") === "true") return;
      if (planned) make();
      else plan();
    } },
      h("label", { class: "bulk-dialog__label", for: "bulk-value" }, t(kind.many ? "plan.tags" : "fact.base")), input,
      kind.many && h("p", { class: "edit__status" }, t("plan.commas")),
      outcome,
      h("div", { class: "bulk-dialog__buttons" }, h("button", { class: "button button--quiet", type: "button", onclick: close }, t("plan.cancel")), go)),
  );
  suggest(input, {
    find: kind.find(api),
    atFocus: kind.atFocus,
    label: t(`bulk.${name}`),
    choose: (text) => {
      const before = kind.many ? input.value.slice(0, input.value.lastIndexOf(",") + 1) : "";
      input.value = before ? `${before} ${text}` : text;
      reset();
    },
  });
  reset();
  input.focus();
}

function planOf(changing, failing, of) {
  const row = ({ file_path: path, changes }) => h("li", { class: "plan__row" },
    h("span", { class: "plan__name", title: path }, fileName(path)),
    changes.map(({ from, to }) => h("span", { class: "plan__change" }, h("del", {}, shown(from)), h("span", { "aria-hidden": "true" }, "→"), h("ins", {}, shown(to)))));
  return [
    h("p", { class: "plan__lead" }, changing.length ? tn("plan.changes", changing.length, { of: number(of) }) : t("plan.nothing")),
    ...longList(changing, row, SAMPLE),
    ...(failing.length ? failures(failing) : []),
  ].filter(Boolean);
}

function shown(value) {
  const text = Array.isArray(value) ? value.join(", ") : String(value ?? "");
  return text || t("plan.none");
}

/** Names what could not be changed, and why. */
function failures(failed) {
  return [
    problem(tn("plan.notChanged", failed.length)),
    ...longList(failed, (each) => h("li", { class: "plan__row" }, h("span", { class: "plan__name", title: each.file_path }, fileName(each.file_path)), h("span", {}, reasonOf(each))), PROBLEMS),
  ];
}

function problem(text) {
  return h("p", { class: "callout callout--bad", role: "alert" }, icon("alert"), h("span", {}, text));
}
