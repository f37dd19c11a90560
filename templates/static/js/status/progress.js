import { h } from "../dom.js";
import { t } from "../texts.js";

const STAGES = new Set(["loading_cache", "scan_folders", "count_models", "process_models", "finalizing"]);

export function stageText(progress) {
  const stage = STAGES.has(progress?.stage) ? progress.stage : "process_models";
  return t(`stage.${stage}`);
}

/** A progress bar that is updated in place, so that it doesn't jump and isn't announced anew. */
export class ProgressBar {
  #fill = h("span", { class: "progress__fill" });
  element = h("div", { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, this.#fill);

  constructor(label) {
    this.element.setAttribute("aria-label", label);
  }

  /** `percent` null: it isn't known how far. */
  set(percent) {
    this.element.classList.toggle("progress--unknown", percent === null);
    if (percent === null) {
      this.element.removeAttribute("aria-valuenow");
      return;
    }
    this.element.setAttribute("aria-valuenow", String(Math.round(percent)));
    this.#fill.style.width = `${Math.max(2, percent)}%`;
  }
}
