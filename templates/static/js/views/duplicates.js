import { whileBusy } from "../controls/busy.js";
import { copyButton } from "../controls/copy-button.js";
import { h, icon } from "../dom.js";
import { baseExplained } from "../grid/card.js";
import { reasonOf } from "../reason.js";
import { bytes, moment, number, t, tn } from "../texts.js";

// What a person chose and was told, by hash: a view is made anew with each change of the library.
const kept = new Map();
const told = new Map();
// Where each is told now.
const tellers = new Map();

/** What was told is no longer true once something else is changed, or taken back. */
export function forgetTold() {
  // The view may have been made anew with it already: the library's news can be faster than the answer to a request.
  for (const hash of told.keys()) tellers.get(hash)?.({ text: "", failed: [] });
  told.clear();
}

/**
 * The copies of one content, side by side: one is chosen to be kept, and the others go into the trash or share its bytes.
 * `cards` are `[model, element]`.
 */
export function copies({ hash, cards }, { edits, signal }) {
  const models = cards.map(([model]) => model);
  const keep = () => models.find(({ file_path: path }) => path === kept.get(hash)) ?? models[0];
  const others = () => models.filter((model) => model !== keep()).map(({ file_path: path }) => path);
  const outcome = h("div", { class: "copies__outcome", "aria-live": "polite" });
  const say = (...content) => outcome.replaceChildren(...content);
  const tell = ({ text, failed }) => say(...(text ? [h("p", {}, text)] : []), ...reasons(failed));
  tellers.set(hash, tell);
  signal.addEventListener("abort", () => tellers.delete(hash), { once: true });
  // The view may be another one by the time of the answer.
  const remember = (text, failed = []) => {
    told.set(hash, { text, failed });
    tellers.get(hash)?.(told.get(hash));
  };
  const fail = (error) => say(h("p", { class: "edit__error" }, reasonOf(error)));
  if (told.has(hash)) tell(told.get(hash));

  const buttons = [];
  const working = (run, more = []) => whileBusy([...buttons, ...more], async () => {
    outcome.setAttribute("aria-busy", "true");
    try {
      await run();
    } catch (error) {
      fail(error);
    } finally {
      outcome.removeAttribute("aria-busy");
    }
  });
  const act = (label, glyph, run, key) => {
    const button = h("button", { class: "button button--quiet button--small", type: "button", "data-focus": `${hash}-${key}`, onclick: () => working(run) }, icon(glyph), label);
    buttons.push(button);
    return button;
  };

  const verify = act(t("copies.verify"), "hash", async () => {
    say(h("p", {}, t("copies.verifying")));
    const answer = await edits.verify(models.map(({ file_path: path }) => path));
    remember(answer.verified_as_duplicates ? tn("copies.verified", models.length) : t("copies.mismatch", { files: answer.mismatched_files.join(", ") }));
  }, "verify");
  const remove = act(tn("copies.delete", models.length - 1), "trash", async () => {
    remember("", await edits.delete(others()));
  }, "delete");
  const link = act(tn("copies.link", models.length - 1), "link", async () => {
    const wanted = { keep: keep().file_path, replace: others() };
    told.delete(hash);
    const plan = await edits.planLink(wanted);
    const ready = plan.results.filter(({ success, method }) => success && method !== "already");
    const failed = plan.results.filter(({ success }) => !success);
    if (!ready.length) {
      say(failed.length ? "" : h("p", {}, t("copies.already")), ...reasons(failed));
      return;
    }
    const hard = ready.some(({ method }) => method === "hardlink");
    const go = h("button", { class: "button button--filled button--small", type: "button", "data-focus": `${hash}-go`, onclick: () => working(async () => {
      const answer = await edits.link(wanted);
      link.focus();
      remember(t("copies.linked", { size: bytes(answer.bytes_saved) }), answer.results.filter(({ success }) => !success));
    }, [go, cancel]) }, t("copies.doLink"));
    const cancel = h("button", { class: "button button--quiet button--small", type: "button", onclick: () => {
      say();
      link.focus();
    } }, t("plan.cancel"));
    say(
      h("p", {}, tn("copies.plan", ready.length, { size: bytes(plan.bytes_saved) }), " ", t(hard ? "copies.hard" : "copies.reflink")),
      ...reasons(failed),
      h("p", { class: "copies__confirm" }, go, cancel),
    );
    go.focus();
  }, "link");

  const rows = cards.map(([model, element]) => {
    const radio = h("input", { type: "radio", name: `keep-${hash}`, "data-focus": `${hash}-${model.file_path}`, onchange: () => {
      kept.set(hash, model.file_path);
      told.delete(hash);
      say();
    } });
    radio.checked = model === keep();
    return h("div", { class: "copy", role: "listitem" }, element,
      h("label", { class: "copy__keep" }, radio, h("span", {}, t("copies.keep")), h("span", { class: "sr-only" }, model.file_path)),
      h("dl", { class: "copy__facts" }, facts(model).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)))));
  });
  const unreachable = models.some(({ offline }) => offline);
  for (const button of [remove, link]) button.hidden = unreachable;
  return [
    h("div", { class: "copies", role: "list" }, rows),
    h("div", { class: "copies__acts" }, verify, link, remove),
    unreachable && h("p", { class: "copies__outcome" }, t("copies.away")),
    outcome,
  ].filter(Boolean);
}

function facts(model) {
  const tags = model.tags ?? [];
  return [
    [t("fact.file"), h("span", { class: "copy__path" }, h("code", {}, model.file_path), copyButton(model.file_path, t("copy.path")))],
    [t("fact.size"), bytes(model.file_size)],
    [t("fact.added"), moment(new Date(model.modified * 1000))],
    [t("edit.name"), model.model_name],
    [t("fact.base"), baseExplained(model)],
    [t("details.tags"), tags.length ? tags.join(", ") : ""],
    [t("details.notes"), model.notes ?? ""],
    [t("mark.favorite"), model.favorite ? t("value.yes") : ""],
    [t("fact.usage"), model.usage_count > 0 ? number(model.usage_count) : ""],
  ].filter(([, value]) => value !== "");
}

function reasons(failed) {
  return failed.length ? [h("ul", { class: "plan__rows" }, failed.map(({ error }) => h("li", { class: "plan__row" }, error)))] : [];
}
