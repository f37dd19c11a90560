import { reasonOf } from "../reason.js";
import { t, tn } from "../texts.js";
import { toast } from "../toast.js";

const RUNNING = new Set(["started", "processing"]);

/**
 * Asking providers about models: all that need it, or these. How far it is stands in the store as `refreshing`, whoever
 * began it; whether providers can be reached as `providers`.
 */
export class Refresh {
  #api;
  #general;
  #store;

  constructor({ api, general, live, store }) {
    this.#api = api;
    this.#general = general;
    this.#store = store;
    live.addEventListener("refresh", ({ detail }) => this.#take(detail));
    live.addEventListener("providers", ({ detail }) => store.set({ providers: detail }, "none"));
    for (const event of ["connected", "library"]) live.addEventListener(event, () => this.#look());
    this.#look();
  }

  /** What runs, and whether providers are away. Neither is worth a word when it can't be asked. */
  async #look() {
    const [run, providers] = await Promise.all([
      this.#api.get("fetch-all-civitai-progress").catch(() => null),
      this.#general.get("providers").catch(() => null),
    ]);
    if (run) this.#take(run.progress);
    if (providers) this.#store.set({ providers }, "none");
  }

  #take(progress) {
    this.#store.set({ refreshing: RUNNING.has(progress?.status) ? progress : null }, "none");
  }

  /** Asks about all models that need it, or about these. */
  async run(paths) {
    if (this.#store.state.refreshing) {
      toast(t("refresh.running"));
      return;
    }
    toast(paths ? tn("refresh.begunThese", paths.length) : t("refresh.begun"));
    try {
      const answer = await this.#api.post("fetch-all-civitai", paths ? { file_paths: paths } : {});
      toast(tn("refresh.done", answer.updated) + (answer.failure_count ? ` ${tn("refresh.without", answer.failure_count)}` : ""));
    } catch (error) {
      toast(t("refresh.ended", { reason: reasonOf(error) }), { bad: true });
    }
  }

  cancel() {
    return this.#api.post("cancel-task").catch((error) => toast(reasonOf(error), { bad: true }));
  }

  /** Looks for newer versions of all models. */
  async updates() {
    toast(t("updates.begun"));
    try {
      const { records, errors = [] } = await this.#api.post("updates/refresh", { force: true });
      if (errors.length) toast(tn("updates.partly", errors.length, { reason: reasonOf(errors[0]) }), { bad: true });
      if (records.length || !errors.length) toast(records.length ? tn("updates.found", records.length) : t("updates.none"));
    } catch (error) {
      toast(t("updates.failed", { reason: reasonOf(error) }), { bad: true });
    }
  }
}
