import { whileBusy } from "../controls/busy.js";
import { openDialog } from "../controls/dialog.js";
import { Menu } from "../controls/menu.js";
import { h, icon } from "../dom.js";
import { nameOf } from "../editing/edits.js";
import { reasonOf } from "../reason.js";
import { isTyping } from "../shortcuts.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

// Source: the API's field `preview_nsfw_level`.
const LEVELS = [[0, "level.unknown"], [1, "level.pg"], [2, "level.pg13"], [4, "level.r"], [8, "level.x"], [16, "level.xxx"], [32, "level.blocked"]];
const FILES = "image/*,video/mp4,video/webm,video/quicktime,.mov,.avi,.jxl";

/**
 * Replacing the preview of the model that the details show: by a chosen, dropped or pasted file, or from an address; and
 * its NSFW level. `picture` is the element to drop on, `dialog` the one in which files are pasted, `item()` the model.
 */
export class PreviewMenu {
  #edits;
  #item;
  #picture;
  #input = h("input", { type: "file", accept: FILES, hidden: true });
  #button = h("button", { class: "picture__change", type: "button", "aria-label": t("preview.change"), title: t("preview.change") }, icon("pencil"));
  element = h("div", { class: "picture__menu", hidden: true });

  constructor({ edits, item, picture, dialog }) {
    this.#edits = edits;
    this.#item = item;
    this.#picture = picture;
    this.element.append(this.#button, this.#input);
    new Menu(this.#button, () => [
      { kind: "action", items: [
        { label: t("preview.choose"), icon: "folder", run: () => this.#input.click() },
        { label: t("preview.fromAddress"), icon: "link", run: () => this.#askAddress() },
      ] },
      { kind: "radio", label: t("preview.level"), items: LEVELS.map(([level, label]) => ({
        label: t(label),
        checked: (item()?.preview_nsfw_level ?? 0) === level,
        run: () => this.#try(() => edits.set(item(), { preview_nsfw_level: level }, t("did.level", { name: nameOf(item()), level: t(label) }))),
      })) },
    ]);
    this.#input.addEventListener("change", () => {
      const [file] = this.#input.files;
      // The same file can be chosen again.
      this.#input.value = "";
      if (file) this.#replace(file);
    });
    const carries = (event) => item() && [...(event.dataTransfer?.types ?? [])].includes("Files");
    const over = (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      picture.classList.add("picture--over");
    };
    picture.addEventListener("dragenter", over);
    picture.addEventListener("dragover", over);
    picture.addEventListener("dragleave", (event) => {
      if (!picture.contains(event.relatedTarget)) picture.classList.remove("picture--over");
    });
    picture.addEventListener("drop", (event) => {
      picture.classList.remove("picture--over");
      if (!carries(event)) return;
      event.preventDefault();
      this.#take(event.dataTransfer.files);
    });
    // A file that misses the picture must not make the browser leave the page.
    for (const kind of ["dragover", "drop"]) dialog.addEventListener(kind, (event) => carries(event) && event.preventDefault());
    addEventListener("paste", (event) => {
      if (!dialog.open || !item() || isTyping(event.target) || !event.clipboardData?.files.length) return;
      event.preventDefault();
      this.#take(event.clipboardData.files);
    });
  }

  #take(files) {
    const file = [...files].find(({ type }) => type.startsWith("image/") || type.startsWith("video/")) ?? files[0];
    if (file) this.#replace(file);
  }

  #replace(file) {
    return this.#try(() => this.#edits.replacePreview(this.#item(), file));
  }

  async #try(run) {
    const name = nameOf(this.#item());
    this.#picture.setAttribute("aria-busy", "true");
    try {
      await run();
    } catch (error) {
      toast(t("edit.notDone", { name, reason: reasonOf(error) }), { bad: true });
    } finally {
      this.#picture.removeAttribute("aria-busy");
    }
  }

  #askAddress() {
    const item = this.#item();
    const input = h("input", { class: "edit__input", type: "url", id: "preview-address", required: true, placeholder: "https://", autocomplete: "off", spellcheck: "false" });
    const error = h("p", { class: "edit__error", role: "alert" });
    const go = h("button", { class: "button button--filled", type: "submit" }, t("preview.fetch"));
    const close = () => dialog.close();
    const take = () => whileBusy([go], async () => {
      error.textContent = "";
      dialog.setAttribute("aria-busy", "true");
      try {
        await this.#edits.previewFrom(item, input.value.trim());
        close();
      } catch (failed) {
        error.textContent = reasonOf(failed);
      } finally {
        dialog.removeAttribute("aria-busy");
      }
    });
    const dialog = openDialog({ title: t("preview.fromAddressTitle"), onClose: () => this.#button.focus() },
      h("form", { class: "bulk-dialog__form", onsubmit: (event) => {
        event.preventDefault();
        take();
      } },
        h("label", { class: "bulk-dialog__label", for: "preview-address" }, t("preview.address")), input, error,
        h("div", { class: "bulk-dialog__buttons" }, h("button", { class: "button button--quiet", type: "button", onclick: close }, t("plan.cancel")), go)));
    input.focus();
  }
}
