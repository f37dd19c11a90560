import { bootstrap } from "../bootstrap.js";
import { Menu } from "../controls/menu.js";
import { byId } from "../dom.js";
import { cleared } from "../query.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

/**
 * Chooses among the named libraries, where there are several. The change comes back as a live message to every open
 * page, this one included; `reload()` fetches what is shown anew.
 */
export function mountLibrarySwitch({ general, live, store, reload }) {
  const enter = (name) => {
    if (name === store.state.library) return;
    // Filters and a model of one library mean nothing in another.
    store.set({ ...cleared(), view: "all", model: "", shownModel: null, library: name }, "replace");
    reload();
    toast(t("libraries.switched", { name }));
  };
  live.addEventListener("library", ({ detail: name }) => enter(name));

  const button = byId("library-switch");
  if (!button) return;
  const choose = async (name) => {
    if (name === store.state.library) return;
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await general.post("settings/libraries/activate", { library: name });
      enter(answer.active_library);
    } catch (error) {
      toast(t("libraries.failed", { name, reason: reasonOf(error) }));
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  new Menu(button, () => [{
    label: t("libraries.menu"),
    kind: "radio",
    items: bootstrap.libraries.map((name) => ({ label: name, checked: name === store.state.library, run: () => choose(name) })),
  }]);
  store.watch(["library"], ({ library }) => {
    button.querySelector(".button__text").textContent = library;
    button.setAttribute("aria-label", t("libraries.switch", { name: library }));
    button.title = button.getAttribute("aria-label");
  });
}
