import { isAbort } from "../api.js";
import { whileBusy } from "../controls/busy.js";
import { dialogButton, openSteps } from "../controls/dialog.js";
import { longList } from "../controls/long-list.js";
import { h } from "../dom.js";
import { reasonOf } from "../reason.js";
import { ProgressBar } from "../status/progress.js";
import { number, t, tn } from "../texts.js";
import { planNodes } from "./plan.js";

const PROBLEMS = 20;

/**
 * Files models by the template: what would be done first, then how far it is, then what became of it. Without `paths` all
 * models; `live` brings the progress, `done()` is called when it ran to its end.
 */
export function organiseDialog({ paths = null, edits, live, roots, done = () => {} }) {
  let asking = new AbortController();
  const bar = new ProgressBar(t("organise.progress"));
  const far = h("p", { class: "edit__status", role: "status" });
  const follow = ({ detail }) => {
    const { processed, total, status } = detail;
    bar.set(total ? (processed / total) * 100 : null);
    far.textContent = status === "cleaning" ? t("organise.cleaning") : t("organise.far", { done: number(processed ?? 0), of: number(total ?? 0) });
  };
  const { dialog, body, outcome, buttons, tell } = openSteps({
    title: paths ? tn("organise.title", paths.length) : t("organise.all"),
    onClose: () => {
      asking.abort();
      live.removeEventListener("organise", follow);
    },
  });
  const close = dialogButton(t("plan.cancel"), () => dialog.close());
  const go = dialogButton(t("organise.go"), () => run(), true);
  const stop = dialogButton(t("organise.stop"), () => {
    whileBusy([stop], () => edits.cancelTask().catch(fail));
  });
  go.disabled = true;
  buttons.append(close, go);
  const unknown = h("input", { type: "checkbox", onchange: () => plan() });
  const option = h("label", { class: "organise__option" }, unknown, h("span", {}, t("organise.unknown")));
  body.append(h("p", { class: "history__lead" }, t("organise.lead")), option);

  const fail = (error) => tell(t("plan.failed", { reason: reasonOf(error) }));
  const plan = async () => {
    asking.abort();
    const { signal } = (asking = new AbortController());
    go.disabled = true;
    outcome.replaceChildren(h("p", {}, t("plan.asking")));
    try {
      const answer = await edits.planOrganise(paths, unknown.checked, signal);
      const { skipped, without_metadata: without } = answer;
      outcome.replaceChildren(
        ...planNodes(answer, roots),
        ...(skipped > without ? [h("p", { class: "edit__status" }, tn("organise.stay", skipped - without))] : []),
        ...(without ? [h("p", { class: "edit__status" }, tn("organise.without", without))] : []));
      go.disabled = !answer.move_count;
      if (answer.move_count) go.textContent = tn("organise.do", answer.move_count);
    } catch (error) {
      if (!isAbort(error)) fail(error);
    }
  };
  const run = async () => {
    live.addEventListener("organise", follow);
    bar.set(null);
    outcome.replaceChildren(bar.element, far);
    buttons.replaceChildren(stop);
    option.hidden = true;
    stop.focus();
    try {
      const answer = await edits.organise(paths, unknown.checked);
      if (dialog.open || answer.summary.failures) tell(tn("plan.notChangedOne", answer.summary.failures, { reason: reasonIn(answer) }), ...ended(answer));
      if (dialog.open && answer.undo_id) buttons.replaceChildren(takeBack(answer.undo_id), closeButton());
      else buttons.replaceChildren(closeButton());
      buttons.lastElementChild.focus();
      if (answer.status !== "cancelled") done();
    } catch (error) {
      buttons.replaceChildren(closeButton());
      fail(error);
    } finally {
      live.removeEventListener("organise", follow);
    }
  };
  const closeButton = () => dialogButton(t("shortcuts.close"), () => dialog.close(), true);
  const takeBack = (id) => {
    const button = dialogButton(t("undo.undo"), () => whileBusy([button], async () => {
      outcome.replaceChildren(h("p", { role: "status" }, t("undo.running")));
      try {
        const { conflicts } = await edits.undo(id);
        outcome.replaceChildren(h("p", { role: "status" }, conflicts.length ? tn("undo.conflicts", conflicts.length, { names: reasonOf(conflicts[0]) }) : t("organise.undone")));
        buttons.lastElementChild.focus();
        button.remove();
      } catch (error) {
        fail(error);
      }
    }));
    return button;
  };
  plan();
}

function leftOf({ results, sample_results: sample }) {
  return results ?? sample ?? [];
}

function reasonIn(answer) {
  const [first] = leftOf(answer);
  return first ? reasonOf(first) : "";
}

function ended(answer) {
  const { status, summary } = answer;
  const left = leftOf(answer);
  const removed = Object.values(summary.cleaned_dirs).reduce((sum, n) => sum + n, 0);
  return [
    h("p", { class: "plan__lead", role: "status" }, status === "cancelled" ? tn("organise.cancelled", summary.success) : tn("organise.done", summary.success)),
    removed > 0 && h("p", { class: "edit__status" }, tn("organise.cleaned", removed)),
    summary.failures > 0 && h("p", { class: "callout callout--bad" }, tn("move.notMoved", summary.failures)),
    ...longList(left, (each) => h("li", { class: "plan__row" }, h("span", { class: "plan__name" }, each.model), h("span", {}, reasonOf(each))), PROBLEMS),
  ].filter(Boolean);
}
