import { openDialog } from "../controls/dialog.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

const ORDERS = ["civitai_archive_sqlite", "civitai_sqlite_archive"];
const PROXIES = ["http", "https", "socks4", "socks5"];

/** Settings of what is asked of providers. Secrets are never shown: a field is empty, and says whether one is set. */
export async function openSettings({ general }) {
  let settings;
  let providers;
  try {
    [{ settings }, providers] = await Promise.all([general.get("settings"), general.get("providers")]);
  } catch (error) {
    toast(reasonOf(error), { bad: true });
    return;
  }
  const fields = [];
  const text = (key, { type = "text", help = "" } = {}) => {
    const input = h("input", { class: "edit__input", type, id: `set-${key}`, value: settings[key] ?? "", autocomplete: "off", spellcheck: "false", "aria-describedby": help && `set-${key}-help` });
    fields.push(() => (input.value.trim() === String(settings[key] ?? "") ? {} : { [key]: input.value.trim() }));
    return row(key, input, help);
  };
  const secret = (key, help = "") => {
    const set = settings[`${key}_set`];
    const input = h("input", { class: "edit__input", type: "password", id: `set-${key}`, autocomplete: "new-password", placeholder: t(set ? "settings.isSet" : "settings.isNotSet"), "aria-describedby": help && `set-${key}-help` });
    const remove = h("input", { type: "checkbox", id: `set-${key}-remove` });
    fields.push(() => (remove.checked ? { [key]: "__DELETE__" } : input.value ? { [key]: input.value.trim() } : {}));
    return row(key, input, help, set && h("label", { class: "settings__check" }, remove, t("settings.remove")));
  };
  const check = (key) => {
    const input = h("input", { type: "checkbox", id: `set-${key}` });
    input.checked = settings[key] === true;
    fields.push(() => (input.checked === (settings[key] === true) ? {} : { [key]: input.checked }));
    return h("label", { class: "settings__check" }, input, t(`settings.${key}`));
  };
  const choice = (key, values) => {
    const input = h("select", { class: "edit__input", id: `set-${key}` }, values.map((value) => h("option", { value, selected: settings[key] === value }, t(`settings.${key}.${value}`))));
    fields.push(() => (input.value === settings[key] ? {} : { [key]: input.value }));
    return row(key, input);
  };

  const outcome = h("p", { class: "edit__error", role: "alert" });
  const close = () => dialog.close();
  const save = async (event) => {
    event.preventDefault();
    const changes = Object.assign({}, ...fields.map((read) => read()));
    outcome.textContent = "";
    try {
      if (Object.keys(changes).length) {
        await general.post("settings", changes);
        toast(t("settings.saved"));
      }
      close();
    } catch (error) {
      outcome.textContent = reasonOf(error);
    }
  };
  const away = providers.hosts.filter((host) => host.offline || host.limited);
  const dialog = openDialog({ title: t("settings.title"), className: "settings" },
    h("form", { class: "settings__form", onsubmit: save },
      h("fieldset", { class: "settings__group" }, h("legend", {}, t("settings.providers")),
        away.map((host) => h("p", { class: "callout" }, icon("offline"), h("span", {}, t(host.offline ? "settings.hostAway" : "settings.hostLimited", { host: host.host })))),
        secret("civitai_api_key", t("settings.keyHelp")),
        choice("metadata_provider_order", ORDERS), check("enable_civarchive_api"), check("enable_metadata_archive_db")),
      h("fieldset", { class: "settings__group" }, h("legend", {}, t("settings.updates")),
        check("hide_early_access_updates"), check("hide_paid_updates")),
      h("fieldset", { class: "settings__group" }, h("legend", {}, t("settings.proxy")),
        check("proxy_enabled"), choice("proxy_type", PROXIES), text("proxy_host"), text("proxy_port"), text("proxy_username"), secret("proxy_password")),
      outcome,
      h("div", { class: "bulk-dialog__buttons" }, h("button", { class: "button button--quiet", type: "button", onclick: close }, t("plan.cancel")), h("button", { class: "button button--filled", type: "submit" }, t("settings.save")))),
  );
}

function row(key, input, help = "", ...rest) {
  return h("div", { class: "settings__row" },
    h("label", { class: "bulk-dialog__label", for: input.id }, t(`settings.${key}`)), input,
    help && h("p", { class: "edit__status", id: `set-${key}-help` }, help), ...rest);
}
