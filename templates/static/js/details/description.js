import { h, webAddress } from "../dom.js";
import { t } from "../texts.js";

// The server has cleaned the markup already. What is taken out here is what this page would not load anyway
// (pictures of other hosts), what would disturb it (ids, styles), and whatever a cleaner with a hole let through.
const UNWANTED = "img, video, audio, picture, source, iframe, object, embed, form, style, link, script, svg";

/** The description's markup as elements of this page, or null when nothing is left to read. */
export function description(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const { content } = template;
  content.querySelectorAll(UNWANTED).forEach((element) => element.remove());
  for (const element of content.querySelectorAll("*")) {
    for (const { name } of [...element.attributes]) {
      if (name !== "href" && name !== "title") element.removeAttribute(name);
    }
  }
  for (const link of content.querySelectorAll("[href]")) {
    if (!webAddress(link.getAttribute("href"))) link.removeAttribute("href");
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  // Headings start below the panel's own.
  for (const heading of content.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    heading.replaceWith(h("h4", {}, ...heading.childNodes));
  }
  // Long lines are scrolled, by keyboard too.
  for (const block of content.querySelectorAll("pre")) block.tabIndex = 0;
  if (!content.textContent.trim()) return null;
  return h("section", { class: "details__section" }, h("h3", {}, t("details.description")), h("div", { class: "prose" }, content));
}
