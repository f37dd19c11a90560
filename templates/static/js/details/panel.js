import { ApiError, isAbort } from "../api.js";
import { copy } from "../controls/copy-button.js";
import { byId, h, icon, webAddress } from "../dom.js";
import { hasDrafts } from "../editing/drafts.js";
import { Editor } from "../editing/editor.js";
import { reasonOf } from "../reason.js";
import { RemoteSection } from "../remote/section.js";
import { bind, dispatch, isTyping } from "../shortcuts.js";
import { SERVER_LANG, number, t } from "../texts.js";
import { description } from "./description.js";
import { factRows } from "./facts.js";
import { findModel } from "./find.js";
import { Picture } from "./picture.js";
import { PreviewMenu } from "./preview-menu.js";
import { triggerWords } from "./words.js";

/**
 * The details of one model. Which one is `model` in the store, so that the address says it; this class only follows.
 * Events: `closed` with the index of the model last shown, or -1 when it isn't in the list.
 */
export class Details extends EventTarget {
  #api;
  #store;
  #source;
  #edits;
  #move;
  #remove;
  // The model whose file's name is to be edited as soon as it is shown.
  #renaming = null;
  #dialog = byId("details");
  #picture = new Picture();
  #previewMenu;
  // It takes the focus when the panel opens, so that Up and Down scroll the text.
  #body = h("div", { class: "details__body", tabindex: "-1", autofocus: true });
  #place = h("p", { class: "details__place" });
  #previous = step("left", "details.previous", () => this.#step(-1));
  #next = step("right", "details.next", () => this.#step(1));
  #item = null;
  #editor = null;
  // What is shown between and below the parts of the editor.
  #callouts = h("div");
  #remote;
  #facts = h("div");
  #index = -1;
  // Whether no other file of the library has this content; only then it can be told where the model went.
  #only = false;
  #asking = null;
  #leaving = false;

  constructor({ api, store, source, edits, move, remove, download }) {
    super();
    this.#move = move;
    this.#remove = remove;
    this.#edits = edits;
    this.#remote = new RemoteSection({ api, edits, download });
    this.#api = api;
    this.#store = store;
    this.#source = source;
    this.#previewMenu = new PreviewMenu({ edits, item: () => this.#item, picture: this.#picture.element, dialog: this.#dialog });
    this.#dialog.append(
      this.#picture.element,
      this.#previewMenu.element,
      h("div", { class: "details__bar" },
        this.#previous, this.#next, this.#place,
        h("button", { class: "button button--bare details__close", type: "button", "aria-label": t("details.close"), title: t("details.close"), onclick: () => this.#leave() }, icon("close"))),
      this.#body,
      h("div", { class: "toasts", role: "status", "aria-live": "polite" }),
    );

    bind("details.previous", () => this.#step(-1));
    bind("details.next", () => this.#step(1));
    bind("details.veil", () => this.#picture.toggleVeil());
    bind("details.copy", () => {
      // Somebody copies what they selected themselves.
      if (!getSelection().isCollapsed) return false;
      return this.#copyWords();
    });
    bind("details.favorite", () => this.#editor?.toggleFavorite());
    bind("details.undo", () => edits.undoLast());
    bind("details.close", () => this.#leave());
    addEventListener("beforeunload", (event) => {
      if (this.#editor?.dirty || hasDrafts()) event.preventDefault();
    });
    this.#dialog.addEventListener("keydown", (event) => {
      // Arrows move in what is typed, and fields have their own way with Escape.
      if (isTyping(event.target)) return;
      // Arrows are for a video's own controls, and scroll a block of code.
      if (event.target instanceof HTMLVideoElement && event.key !== "Escape") return;
      if (event.target instanceof HTMLPreElement && event.key.startsWith("Arrow")) return;
      dispatch(event, "details");
    });
    this.#dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#leave();
    });
    this.#dialog.addEventListener("close", () => {
      // A browser may close it without asking first.
      if (this.#store.state.model) this.#leave({ unsaved: true });
    });
    this.#dialog.addEventListener("click", ({ target }) => {
      if (target === this.#dialog) this.#leave();
    });

    store.watch(["model"], ({ model }) => (model ? this.#show(model) : this.#close()));
    source.addEventListener("items", () => this.#listChanged());
    edits.addEventListener("changed", () => this.#changed());
  }

  /** Shows a model with its file's name being edited. */
  rename(item) {
    this.#renaming = item.file_path;
    this.#store.set({ shownModel: item, model: item.file_path });
  }

  async #show(filePath) {
    if (!this.#dialog.open) this.#dialog.showModal();
    if (this.#item?.file_path === filePath) return;
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    this.#index = this.#source.indexOf(filePath);
    const listed = this.#source.item(this.#index) ?? this.#store.state.shownModel;
    try {
      if (listed?.file_path === filePath) {
        this.#fill(listed);
      } else {
        this.#say(t("details.loading"));
        const status = this.#store.state.status ?? (await this.#api.get("status", {}, signal));
        const found = await findModel(this.#api, filePath, status.roots, signal);
        if (!found) {
          this.#say(t("details.gone"), filePath);
          return;
        }
        this.#index = this.#source.indexOf(filePath);
        this.#fill(found);
      }
      await this.#fillMore(this.#item, signal);
    } catch (error) {
      if (!isAbort(error)) this.#say(t("details.failed"), reasonOf(error));
    }
  }

  #say(title, detail = "") {
    this.#drop();
    this.#picture.clear();
    this.#body.replaceChildren(h("h2", { class: "details__name", id: "details-name" }, title), h("p", { class: "details__note" }, detail));
    this.#showPlace();
  }

  #fill(item) {
    this.#drop();
    this.#item = item;
    this.#picture.show(item);
    this.#previewMenu.element.hidden = Boolean(item.offline);
    this.#editor = new Editor({
      item,
      edits: this.#edits,
      api: this.#api,
      showTag: (tag) => this.#store.set({ model: "", view: "all", tags: [tag], tagsNot: [] }),
      leave: () => this.#leave(),
      follow: (moved) => this.#follow(moved),
      move: (paths, done) => this.#move(paths, done),
      remove: (paths, model) => this.#remove(paths, model),
    });
    const { head, words, tags, notes, file, foot } = this.#editor.parts;
    this.#draw(null, null);
    this.#body.replaceChildren(head, this.#callouts, words, tags, notes, file, this.#facts, this.#remote.element, foot);
    this.#editor.restore();
    this.#body.scrollTop = 0;
    if (this.#renaming === item.file_path) this.#editor.editFile();
    this.#renaming = null;
    this.#showPlace();
  }

  /** Shows what changed of the model; what is being typed stays, and so does the place in the text. */
  async #refresh(item) {
    const { media_url: media, model_name: name, preview_nsfw_level: level } = this.#item;
    this.#item = item;
    if (item.media_url !== media || item.model_name !== name || item.preview_nsfw_level !== level) this.#picture.show(item);
    this.#asking?.abort();
    const { signal } = (this.#asking = new AbortController());
    this.#editor.update(item, null);
    try {
      await this.#fillMore(item, signal);
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  }

  /** What the list doesn't carry. Either part may be missing: a file without a sidecar has neither. */
  async #fillMore(item, signal) {
    const missing = (error) => {
      if (error instanceof ApiError) return null;
      throw error;
    };
    this.#lookForCopies(item);
    const ask = (route) => this.#api.get(route, { file_path: item.file_path }, signal).catch(missing);
    const [metadata, text] = await Promise.all([ask("metadata"), ask("model-description")]);
    const link = item.civitai?.modelId ? await this.#api.get("civitai-url", { name: item.folder ? `${item.folder}/${item.file_name}` : item.file_name }, signal).catch(missing) : null;
    if (this.#item === item) this.#draw(metadata?.metadata ?? null, text?.safe_html ?? "", link?.civitai_url);
  }

  #draw(metadata, html, link) {
    const item = this.#item;
    this.#editor.update(item, metadata, webAddress(link ?? item.hf_url));
    this.#remote.update(item);
    this.#callouts.replaceChildren(...[
      item.problem && h("p", { class: "callout callout--bad" }, icon("alert"), h("span", { lang: SERVER_LANG }, item.problem)),
      item.offline && h("p", { class: "callout" }, icon("offline"), h("span", {}, t("details.offline"))),
    ].filter(Boolean));
    this.#facts.replaceChildren(...[
      h("section", { class: "details__section" }, h("h3", {}, t("details.facts")),
        h("dl", { class: "facts" }, factRows(item, metadata).map(([label, value]) => h("div", { class: "fact" }, h("dt", {}, label), h("dd", {}, value))))),
      html && description(html),
    ].filter(Boolean));
  }

  #drop() {
    this.#editor?.dispose();
    this.#editor = null;
    this.#item = null;
    this.#only = false;
    this.#previewMenu.element.hidden = true;
  }

  #showPlace() {
    const total = this.#source.total ?? 0;
    const listed = this.#index >= 0 && total > 0;
    this.#place.textContent = listed ? t("details.place", { at: number(this.#index + 1), of: number(total) }) : "";
    this.#previous.disabled = !listed || this.#index === 0;
    this.#next.disabled = !listed || this.#index >= total - 1;
  }

  #listChanged() {
    if (!this.#item || !this.#dialog.open) return;
    const before = this.#index;
    this.#index = this.#source.indexOf(this.#item.file_path);
    this.#showPlace();
    if (before >= 0 && this.#index < 0) this.#changed();
    const now = this.#source.item(this.#index);
    if (now && JSON.stringify(now) !== JSON.stringify(this.#item)) this.#refresh(now);
    else if (now) this.#lookForCopies(this.#item);
  }

  // A change may take the model out of the list that is asked for; it is looked up then.
  async #changed() {
    if (!this.#item || this.#index >= 0) return;
    const { file_path: filePath } = this.#item;
    const found = await findModel(this.#api, filePath, this.#store.state.status?.roots ?? []).catch(() => null);
    if (this.#item?.file_path !== filePath) return;
    if (found) {
      this.#refresh(found);
      return;
    }
    // It may be somewhere else by now: its content tells, unless a copy of it has the same.
    const same = this.#only ? await this.#sameContent(this.#item) : null;
    if (same?.items.length === 1 && this.#item?.file_path === filePath) this.#follow(same.items[0]);
  }

  #sameContent({ sha256 }) {
    return sha256 ? this.#api.get("list", { hash: sha256 }).catch(() => null) : null;
  }

  async #lookForCopies(item) {
    const same = await this.#sameContent(item);
    if (this.#item !== item || !same) return;
    const own = same.items.some(({ file_path: path }) => path === item.file_path);
    // Where it is gone already, what was known before holds.
    if (own) this.#only = same.items.length === 1;
  }

  /** The model that is shown is at another path now. */
  #follow(item) {
    this.#index = this.#source.indexOf(item.file_path);
    this.#refresh(item);
    this.#store.set({ shownModel: item, model: item.file_path }, "replace");
  }

  async #step(by) {
    if (this.#index < 0 || (this.#editor && !(await this.#editor.flush()))) return;
    const item = await this.#source.load(this.#index + by);
    if (item) this.#store.set({ model: item.file_path }, "replace");
  }

  #copyWords() {
    const words = this.#item ? triggerWords(this.#item, null) : [];
    if (!words.length) return false;
    copy(words.join(", "));
    return true;
  }

  // Going back is what the browser's Back button would do; only a page that was opened here has nothing to go back to.
  async #leave({ unsaved = false } = {}) {
    if (this.#leaving) return;
    // What can't be saved keeps the details open; its field says why, and how to go without it.
    if (this.#editor && !unsaved && !(await this.#editor.flush())) return;
    if (this.#leaving) return;
    this.#leaving = true;
    if (history.state?.opened) history.back();
    else this.#store.set({ model: "" }, "replace");
  }

  #close() {
    this.#leaving = false;
    if (!this.#item && !this.#dialog.open) return;
    this.#asking?.abort();
    this.#dialog.close();
    this.#picture.clear();
    this.#drop();
    this.dispatchEvent(new CustomEvent("closed", { detail: this.#index }));
  }
}

function step(glyph, label, run) {
  return h("button", { class: "button button--bare", type: "button", "aria-label": t(label), title: t(label), onclick: run }, icon(glyph));
}
