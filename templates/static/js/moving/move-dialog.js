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
 * library's, `folder` is one that a person chose already; without it the dialog begins with the models' own folder, and
 * nothing is moved before another one is chosen. `done(results)` is called when something was moved.
 */
export function moveDialog({ paths, edits, roots, tree, folder = null, done = () => {} }) {
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
  const own = folder ?? commonFolder(paths, roots);
  let chosen = folder !== null;
  const root = h("select", { class: "edit__input", id: "move-root", onchange: () => choose() },
    roots.map(({ path, online }) => h("option", { value: path, selected: path === first, disabled: online === false }, path)));
  const input = h("input", { class: "edit__input", type: "text", id: "move-folder", autocomplete: "off", spellcheck: "false", placeholder: t("folders.root") });
  input.value = own;
  const choice = new FolderTree({ label: t("move.folders"), all: t("folders.root"), choose: (path) => {
    input.value = path;
    choice.show(tree, path);
    choose();
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
    if (!chosen) {
      outcome.replaceChildren(h("p", { class: "plan__lead" }, t("move.choose")));
      return;
    }
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
  const choose = () => {
    chosen = true;
    plan();
  };
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
      tell(tn("plan.notChangedOne", failed.length, { reason: reasonOf(failed[0]) }), ...notMoved(failed.map((each) => ({ path: each.original_file_path, reason: reasonOf(each) }))));
      cancel.textContent = t("shortcuts.close");
      cancel.focus();
    } catch (error) {
      running = false;
      lock(false);
      fail(error);
    }
  });

  input.addEventListener("input", () => {
    chosen = true;
    go.disabled = true;
    choice.show(tree, input.value.trim());
    later();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) (go.disabled ? plan : move)();
  });
  choice.show(tree ?? {}, own);
  input.focus();
  // What is typed replaces the folder.
  input.select();
  plan();
}

/** The folder that all models are in, below their library folder; the top folder when they are in several. */
function commonFolder(paths, roots) {
  const folders = new Set(paths.map((path) => {
    const root = rootOf(path, roots);
    return root === null ? "" : path.slice(root.length + 1, Math.max(root.length + 1, path.lastIndexOf("/")));
  }));
  return folders.size === 1 ? [...folders][0] : "";
}
