import { at } from "../base-path.js";
import { calm, h, icon } from "../dom.js";
import { isMature, isVeiled, refused, setRevealed, widths } from "../grid/media.js";
import { placeholder } from "../grid/placeholder.js";
import { t } from "../texts.js";

const MAY_MOVE = /\.(gif|webp)$/i;

/** The preview as large as there is room, on a soft blur of itself. */
export class Picture {
  #item = null;
  element = h("div", { class: "picture" });

  show(item) {
    this.#item = item;
    const mature = isMature(item);
    const veiled = isVeiled(item);
    this.element.className = veiled ? "picture picture--veiled" : "picture";
    this.element.replaceChildren(...this.#media(veiled));
    if (!mature) return;
    const text = t(veiled ? "veil.show" : "veil.hide");
    this.element.append(h("button", { class: veiled ? "picture__veil" : "picture__veil picture__veil--open", type: "button", "aria-keyshortcuts": "v", onclick: () => this.toggleVeil() },
      icon(veiled ? "eye-off" : "eye"), veiled ? t("veil.mature") : "", h("span", { class: veiled ? "picture__hint" : "" }, text)));
  }

  clear() {
    this.element.replaceChildren();
    this.#item = null;
  }

  toggleVeil() {
    if (!this.#item || !isMature(this.#item)) return;
    const focused = this.element.contains(document.activeElement);
    setRevealed(this.#item, isVeiled(this.#item));
    this.show(this.#item);
    if (focused) this.element.querySelector("button")?.focus();
  }

  #media(veiled) {
    const item = this.#item;
    if (!item.media_url) return [placeholder(item.model_name)];
    if (item.media_type === "video") {
      const video = h("video", { class: "picture__media", controls: true, loop: true, playsinline: true, preload: "auto", "aria-label": t("details.preview", { name: item.model_name }) });
      video.muted = true;
      video.autoplay = !calm() && !veiled;
      video.src = at(item.media_url);
      return [video];
    }
    // What may move is shown as it is: its smaller forms stand still.
    const source = MAY_MOVE.test(item.preview_url) ? { src: at(item.media_url) } : { sizes: "(max-width: 960px) 100vw, 750px", srcset: widths(item.media_url, 640) };
    const image = h("img", { class: "picture__media", alt: t("details.preview", { name: item.model_name }), decoding: "async", ...source });
    image.addEventListener("error", () => this.element.replaceChildren(refused(item, true)), { once: true });
    return [h("img", { class: "picture__glow", src: `${at(item.media_url)}&w=160`, alt: "", "aria-hidden": "true" }), image];
  }
}
