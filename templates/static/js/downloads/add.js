import { isAbort } from "../api.js";
import { debounce, h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { bytes, t } from "../texts.js";
import { named } from "./address.js";

const REST = 350;

/**
 * The form that adds a download: an address or id, then what the server says there is (versions, files) and where it
 * would go, then the button. What is downloaded is the server's matter; the form is free again, and `started()` called, as
 * soon as the server knows it. `enter(address)` does what typing it would.
 */
export function addForm(api, type, { started = () => {} } = {}) {
  const input = h("input", { class: "edit__input", type: "text", id: "download-address", autocomplete: "off", spellcheck: "false", inputmode: "url", "aria-describedby": "download-hint" });
  const choices = h("div", { class: "download-add__choices" });
  const note = h("p", { class: "download-add__note", role: "status" });
  const go = h("button", { class: "button button--filled", type: "submit", disabled: true }, t("downloads.start"));
  const form = h("form", { class: "download-add" },
    h("label", { class: "bulk-dialog__label", for: "download-address" }, t("downloads.address")), input,
    h("p", { class: "edit__status", id: "download-hint" }, t("downloads.hint")),
    choices, note, h("div", { class: "bulk-dialog__buttons" }, go));
  let asking = null;
  let wanted = null;

  const say = (text, bad = false) => {
    note.textContent = text;
    note.classList.toggle("edit__error", bad);
  };
  // What is shown no longer is what is wanted.
  const forget = () => {
    asking?.abort();
    form.removeAttribute("aria-busy");
    wanted = null;
    go.disabled = true;
  };
  const reset = () => {
    forget();
    look.cancel();
    inFolder.cancel();
    choices.replaceChildren();
    say("");
  };
  const ask = async (what, draw) => {
    forget();
    const { signal } = (asking = new AbortController());
    form.setAttribute("aria-busy", "true");
    say(t("downloads.asking"));
    try {
      await draw(await what(signal));
    } catch (error) {
      if (isAbort(error)) return;
      say(reasonOf(error), true);
    } finally {
      if (!signal.aborted) form.removeAttribute("aria-busy");
    }
  };
  // A field that is drawn anew keeps the focus that it had.
  const redraw = (...rows) => {
    const focused = choices.contains(document.activeElement) ? document.activeElement.id : null;
    const caret = document.activeElement?.selectionStart;
    choices.replaceChildren(...rows.filter(Boolean));
    const again = focused && choices.querySelector(`#${CSS.escape(focused)}`);
    again?.focus();
    if (again?.type === "text") again.setSelectionRange(caret, caret);
  };

  const ofProvider = (choice) => ask((signal) => api.post("downloads/plan", choice, signal), (plan) => {
    const change = (more) => ofProvider({ ...choice, ...more });
    const place = choice.use_default_paths ? "" : choice.model_root;
    redraw(
      h("p", { class: "download-add__name" }, plan.model_name ?? t("downloads.nameless")),
      pick("download-version", t("downloads.version"), plan.versions.map(({ id, name, baseModel, inLibrary }) => [id, [name, baseModel, inLibrary && t("downloads.here")].filter(Boolean).join(" · ")]), plan.model_version_id,
        (id) => change({ model_version_id: Number(id), file_params: undefined })),
      pick("download-file", t("downloads.file"), plan.files.map(({ id, name, sizeKB, metadata }) => [id, [name, metadata?.fp, sizeKB && bytes(sizeKB * 1024)].filter(Boolean).join(" · ")]), plan.file_id,
        (id) => change({ model_version_id: plan.model_version_id, file_params: { id: Number(id) } })),
      pick("download-root", t("downloads.folder"), [["", t("downloads.byRules")], ...plan.roots.map((root) => [root, root])], place,
        (root) => change(root ? { use_default_paths: false, model_root: root, relative_path: "" } : { use_default_paths: true, model_root: "", relative_path: "" })),
      !choice.use_default_paths && h("div", { class: "download-add__row" },
        h("label", { for: "download-folder" }, t("downloads.below")),
        h("input", { class: "edit__input", id: "download-folder", type: "text", value: choice.relative_path ?? "", autocomplete: "off", spellcheck: "false", oninput: ({ target }) => {
          forget();
          inFolder(() => change({ relative_path: target.value.trim() }));
        } })),
      goes(plan.folder && `${plan.folder.replace(/\/+$/, "")}/${plan.file_name}`),
    );
    const here = plan.versions.some(({ id, inLibrary }) => id === plan.model_version_id && inLibrary) && !choice.file_params;
    say(here ? t("downloads.hereAlready") : "");
    const version = plan.versions.find(({ id }) => id === plan.model_version_id);
    wanted = ["download-model", { ...choice, model_id: plan.model_id, model_version_id: plan.model_version_id, model_name: plan.model_name ?? "", version_name: version?.name ?? "" }];
    go.disabled = here || !plan.folder;
  });

  const ofHub = (choice) => ask(async (signal) => ({
    files: await api.get("hf-repo-files", { repo: choice.repo }, signal),
    roots: (await type.get("roots", {}, signal)).roots,
  }), ({ files, roots }) => {
    const file = choice.filename ?? files[0]?.filename;
    const root = choice.model_root ?? roots[0];
    const sub = `huggingface/${choice.repo}`;
    redraw(
      h("p", { class: "download-add__name" }, choice.repo),
      pick("download-file", t("downloads.file"), files.map(({ filename, size }) => [filename, `${filename} · ${bytes(size)}`]), file, (filename) => ofHub({ ...choice, filename })),
      pick("download-root", t("downloads.folder"), roots.map((own) => [own, own]), root, (own) => ofHub({ ...choice, model_root: own })),
      goes(file && root && `${root}/${sub}/${file.split("/").at(-1)}`),
    );
    say(files.length ? "" : t("downloads.noFiles"), !files.length);
    wanted = ["download-hf-model", { ...choice, filename: file, model_root: root, use_default_paths: true }];
    go.disabled = !file || !root;
  });

  const inFolder = debounce(REST, (run) => run());
  const look = debounce(REST, () => {
    const found = named(input.value);
    if (found?.repo) ofHub(found);
    else if (found) ofProvider({ ...found, use_default_paths: true });
    else if (input.value.trim()) say(t("downloads.unknown"), true);
  });
  input.addEventListener("input", () => {
    reset();
    look();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!wanted || go.disabled) return;
    const sent = wanted;
    const [route, body] = sent;
    go.disabled = true;
    say(t("downloads.sending"));
    try {
      // Without `queued` it would answer when the download has ended, and hold one of the browser's few connections until then.
      await api.post(route, { ...body, queued: true });
    } catch (error) {
      if (wanted !== sent) return;
      say(t("downloads.failed", { reason: reasonOf(error) }), true);
      go.disabled = false;
      return;
    }
    started();
    // Somebody may have typed the next one meanwhile.
    if (wanted !== sent) return;
    input.value = "";
    reset();
    say(t("downloads.started"));
    input.focus();
  });
  const enter = (text) => {
    input.value = text;
    reset();
    look();
  };
  return { element: form, focus: () => input.focus(), close: reset, enter };
}

function pick(id, label, options, chosen, change) {
  return h("div", { class: "download-add__row" },
    h("label", { for: id }, label),
    h("select", { class: "select", id, onchange: ({ target }) => change(target.value) },
      options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text))));
}

function goes(path) {
  return path && h("p", { class: "download-add__path" }, icon("folder"), h("span", {}, t("downloads.goes", { path })));
}
