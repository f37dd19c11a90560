import { isAbort } from "../api.js";
import { whileBusy } from "../controls/busy.js";
import { dialogButton, openSteps } from "../controls/dialog.js";
import { FolderTree } from "../controls/folder-tree.js";
import { debounce, h } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t, tn } from "../texts.js";
import { notMoved, planNodes, rootOf } from "./plan.js";

const TYPED = 350;

/**
 * Asks for a folder, which may be a new one, shows what would be moved there, and moves it. `roots` and `tree` are the
 * library's, `folder` is the one to begin with; `done(results)` is called when something was moved.
 */
export function moveDialog({ paths, edits, roots, tree, folder = "", done = () => {} }) {
  let asking = null;
  let running = false;
  const { dialog, body, outcome, buttons, tell } = openSteps({
    title: tn("move.title", paths.length),
    onClose: () => {
      asking?.abort();
      if (running) edits.cancelTask().catch(() => {});
    },
  });
  const go = dialogButton(t("move.here"), () => move(), true);
  const cancel = dialogButton(t("plan.cancel"), () => dialog.close());
  buttons.append(cancel, go);

  const first = rootOf(paths[0], roots) ?? roots[0]?.path ?? "";
  const root = h("select", { class: "edit__input", id: "move-root", onchange: () => plan() },
    roots.map(({ path, online }) => h("option", { value: path, selected: path === first, disabled: online === false }, path)));
  const input = h("input", { class: "edit__input", type: "text", id: "move-folder", autocomplete: "off", spellcheck: "false", placeholder: t("folders.root") });
  input.value = folder;
  const choice = new FolderTree({ label: t("move.folders"), all: t("folders.root"), choose: (path) => {
    input.value = path;
    choice.show(tree, path);
    plan();
  } });
  body.append(
    ...(roots.length > 1 ? [h("label", { class: "bulk-dialog__label", for: "move-root" }, t("move.root")), root] : []),
    h("label", { class: "bulk-dialog__label", for: "move-folder" }, t("move.folder")), input,
    h("p", { class: "edit__status" }, t("move.newFolder")),
    h("div", { class: "move__tree" }, choice.element));

  const target = () => {
    const within = input.value.trim().replaceAll("\\", "/").split("/").map((part) => part.trim()).filter(Boolean).join("/");
    return within ? `${root.value}/${within}` : root.value;
  };
  const fail = (error) => tell(t("plan.failed", { reason: reasonOf(error) }));
  // Where to cannot be changed while they are on their way.
  const lock = (yes) => {
    input.readOnly = root.disabled = choice.element.inert = yes;
  };
  const plan = async () => {
    later.cancel();
    asking?.abort();
    const { signal } = (asking = new AbortController());
    go.disabled = true;
    try {
      const answer = await edits.planMove(paths, target(), signal);
      outcome.replaceChildren(...planNodes(answer, roots));
      go.disabled = !answer.move_count;
      go.textContent = answer.move_count ? tn("move.do", answer.move_count) : t("move.here");
    } catch (error) {
      if (!isAbort(error)) fail(error);
    }
  };
  const later = debounce(TYPED, () => plan());
  const move = () => whileBusy([go], async () => {
    running = true;
    lock(true);
    outcome.replaceChildren(h("p", { role: "status" }, t("move.running")));
    try {
      const results = await edits.move(paths, target());
      const failed = results.filter(({ success }) => !success);
      running = false;
      if (failed.length < results.length) done(results);
      if (!failed.length) {
        dialog.close();
        return;
      }
      go.disabled = true;
      tell(tn("plan.notChangedOne", failed.length, { reason: failed[0].message }), ...notMoved(failed.map(({ original_file_path: path, message }) => ({ path, error: message }))));
      cancel.textContent = t("shortcuts.close");
      cancel.focus();
    } catch (error) {
      running = false;
      lock(false);
      fail(error);
    }
  });

  input.addEventListener("input", () => {
    go.disabled = true;
    choice.show(tree, input.value.trim());
    later();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) (go.disabled ? plan : move)();
  });
  choice.show(tree ?? {}, folder);
  input.focus();
  plan();
}
