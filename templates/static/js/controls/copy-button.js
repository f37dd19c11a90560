import { h, icon } from "../dom.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

const CONFIRMED = 1600;

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard API needs a secure context; over plain HTTP in a LAN only this way is left.
    const area = h("textarea", { class: "sr-only", readonly: true }, text);
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(t("copy.done"));
}

/** A button that copies `text`; `label` says what that is. */
export function copyButton(text, label) {
  const button = h("button", { class: "button button--bare button--small", type: "button", "aria-label": label, title: label }, icon("copy"));
  button.addEventListener("click", async () => {
    await copy(text);
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), CONFIRMED);
  });
  return button;
}
