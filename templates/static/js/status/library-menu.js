import { at } from "../base-path.js";
import { isAbort } from "../api.js";
import { Menu } from "../controls/menu.js";
import { byId } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

/**
 * Scans on demand, filing by the template, and the way to the history of changes. The request lasts as long as the scan; what it finds comes as a
 * live change.
 */
export function mountLibraryMenu({ api, store, live, remote, openHistory, openSettings, organiseAll }) {
  const scan = async (full) => {
    if (store.state.scan) return;
    store.set({ scan: true });
    const watching = setInterval(() => live.refresh(), 1000);
    try {
      const answer = await api.get("scan", { full_rebuild: full });
      toast(t(answer.status === "cancelled" ? "scan.cancelled" : "scan.done"));
    } catch (error) {
      if (!isAbort(error)) toast(t("scan.failed", { reason: reasonOf(error) }));
    } finally {
      clearInterval(watching);
      store.set({ scan: false });
      live.refresh();
    }
  };

  new Menu(byId("library-menu"), () => [{
    label: t("library.menu"),
    kind: "action",
    items: [
      { label: t("scan.changes"), icon: "refresh", disabled: store.state.scan, run: () => scan(false) },
      { label: t("scan.everything"), icon: "layers", disabled: store.state.scan, run: () => scan(true) },
    ],
  }, {
    label: t("remote.menu"),
    kind: "action",
    items: [
      { label: t("refresh.all"), icon: "refresh", disabled: store.state.refreshing !== null, run: () => remote.run() },
      { label: t("updates.look"), icon: "update", run: () => remote.updates() },
      { label: t("settings.open"), icon: "sliders", run: openSettings },
    ],
  }, {
    label: t("history.menu"),
    kind: "action",
    items: [
      { label: t("organise.open"), icon: "folder", run: organiseAll },
      { label: t("history.open"), icon: "history", run: openHistory },
    ],
  }, {
    label: t("plugins.menu"),
    kind: "action",
    items: [
      { label: t("plugins.open"), icon: "layers", run: () => location.assign(at("/plugins")) },
      { label: t("access.menu"), icon: "key", run: () => location.assign(at("/access")) },
    ],
  }]);

  return {
    cancel: () => api.post("cancel-task").catch((error) => toast(reasonOf(error))),
  };
}
