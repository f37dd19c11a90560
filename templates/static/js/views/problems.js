import { isAbort } from "../api.js";
import { h, icon } from "../dom.js";
import { addressOf } from "../address.js";
import { failure, plainNotice } from "../status/notices.js";
import { SERVER_LANG, t, tn } from "../texts.js";

const MOST = 500;

/** Files that could not be read as they should, with the reason. */
export async function problemsView({ api, store, open, retry, signal }) {
  let problems;
  try {
    ({ problems } = await api.getWhenReady("problems", {}, signal));
  } catch (error) {
    if (isAbort(error)) throw error;
    return failure(error, retry);
  }
  if (!problems.length) return plainNotice("check", t("problems.none"), t("problems.noneText"));
  return h("div", {},
    h("p", { class: "view__lead" }, tn("problems.count", problems.length)),
    h("ul", { class: "problems" }, problems.slice(0, MOST).map(({ file_path: filePath, problem }) => row(filePath, problem, { store, open }))));
}

function row(filePath, problem, { store, open }) {
  const cut = filePath.lastIndexOf("/") + 1;
  const link = h("a", { class: "problem", href: addressOf(store.state, filePath) },
    icon("alert"),
    h("span", { class: "problem__name" }, filePath.slice(cut)),
    h("span", { class: "problem__path" }, filePath.slice(0, cut)),
    h("span", { class: "problem__text", lang: SERVER_LANG }, problem));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open({ file_path: filePath });
  });
  return h("li", {}, link);
}
