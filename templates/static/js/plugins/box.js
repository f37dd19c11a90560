import { h } from "../dom.js";
import { moment, number, t } from "../texts.js";

/** One plugin. What a person may hold the focus on stays the same element while its figures change. */
export class PluginBox {
  #plugin = null;
  #name = h("h2", { class: "plugin__name" });
  #version = h("span", { class: "plugin__version" });
  #state = h("span", { class: "plugin__state" });
  #switch = h("button", { class: "button button--small", type: "button", onclick: () => this.#toggle() });
  #reload = h("button", { class: "button button--small", type: "button", onclick: () => this.#run("reload", "plugins.reloaded") }, t("plugins.reload"));
  #messages = h("div");
  #facts = h("dl", { class: "facts" });
  #grants = h("fieldset", { class: "grants", hidden: true }, h("legend", {}, t("plugins.hosts")));
  #exports = h("tbody");
  #limits = h("tbody");
  #routes = h("ul", { class: "plugin__routes" });
  #more = h("div");
  #act;
  #shown = new Map();

  constructor(act) {
    this.#act = act;
    this.#more.append(
      details("plugins.calls", table(["export", "calls", "failed", "median", "p99"], this.#exports)),
      details("plugins.limits", table(["limit", "most", "reached"], this.#limits)),
      details("plugins.routes", this.#routes),
    );
    this.element = h("li", { class: "plugin" },
      h("div", { class: "plugin__head" }, this.#name, this.#version, this.#state, h("div", { class: "plugin__actions" }, this.#switch, this.#reload)),
      this.#messages, this.#facts, this.#grants, this.#more);
  }

  update(plugin) {
    this.#plugin = plugin;
    const name = plugin.display_name ?? plugin.source;
    write(this.#name, name);
    write(this.#version, plugin.version ? t("plugins.version", { version: plugin.version }) : "");
    write(this.#state, t(`plugins.state.${plugin.state}`));
    this.#state.dataset.state = plugin.state;
    const enabled = plugin.state !== "disabled";
    write(this.#switch, t(enabled ? "plugins.disable" : "plugins.enable"));
    this.#switch.hidden = !plugin.id || plugin.state === "failed";
    this.#reload.hidden = plugin.state === "building";
    for (const button of [this.#switch, this.#reload]) button.setAttribute("aria-label", `${button.textContent}: ${name}`);
    this.#once("messages", [plugin.reason, plugin.failure, plugin.usage?.last_failure], () => this.#messages.replaceChildren(...messages(plugin)));
    this.#once("facts", factsOf(plugin), (facts) => this.#facts.replaceChildren(...facts.map(([key, value]) => fact(key, value))));
    this.#more.hidden = !plugin.id;
    if (!plugin.id) return;
    this.#once("grants", plugin.capabilities.remote_hosts, (hosts) => this.#showHosts(hosts));
    this.#once("exports", plugin.usage.exports, (exports) => this.#exports.replaceChildren(...exports.map((own) => row(own.export, number(own.calls), number(own.failed), time(own.median_ms), time(own.p99_ms)))));
    this.#once("limits", [plugin.limits, plugin.usage.limits_reached], () => this.#limits.replaceChildren(...limits(plugin)));
    this.#once("routes", plugin.routes, (routes) => this.#routes.replaceChildren(...(routes.length ? routes.map((route) => h("li", {}, h("code", {}, `${route.method} ${route.path}`))) : [h("li", {}, t("plugins.routes.none"))])));
  }

  /** Shows a part again when what it is made from is different. */
  #once(part, from, show) {
    const text = JSON.stringify(from);
    if (this.#shown.get(part) === text) return;
    this.#shown.set(part, text);
    show(from);
  }

  #showHosts(hosts) {
    this.#grants.hidden = hosts.length === 0;
    const focused = this.#grants.contains(document.activeElement) ? document.activeElement.value : null;
    const labels = hosts.map(({ host, granted, by_settings: fixed }) => h("label", { class: "grant" },
      h("input", { type: "checkbox", value: host, checked: granted, disabled: fixed, onchange: ({ target }) => this.#grant(host, target.checked) }),
      h("span", {}, host),
      fixed && h("span", { class: "grant__note" }, t("plugins.hosts.settings"))));
    this.#grants.replaceChildren(this.#grants.firstElementChild, ...labels);
    if (focused) [...this.#grants.querySelectorAll("input")].find((input) => input.value === focused)?.focus();
  }

  async #grant(host, granted) {
    // Whatever comes of it is shown anew.
    this.#shown.delete("grants");
    await this.#act(this.#plugin, "grants", { remote_host: host, granted }, t(granted ? "plugins.granted" : "plugins.revoked", { host }));
  }

  #toggle() {
    return this.#plugin.state === "disabled" ? this.#run("enable", "plugins.enabled") : this.#run("disable", "plugins.disabled");
  }

  async #run(action, done) {
    const buttons = [this.#switch, this.#reload];
    // Not disabled: that would lose the focus.
    if (buttons.some((button) => button.hasAttribute("aria-busy"))) return;
    buttons.forEach((button) => button.setAttribute("aria-busy", "true"));
    await this.#act(this.#plugin, action, {}, t(done, { name: this.#name.textContent }));
    buttons.forEach((button) => button.removeAttribute("aria-busy"));
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function messages(plugin) {
  const list = [];
  if (plugin.state === "quarantined") list.push(callout(t("plugins.quarantined"), plugin.reason));
  if (plugin.failure) {
    const lead = plugin.id && plugin.state !== "failed" ? "plugins.failure.newer" : "plugins.failure";
    list.push(callout(t(lead, { at: at(plugin.failure.at) }), plugin.failure.reason));
  }
  const last = plugin.usage?.last_failure;
  if (last) list.push(h("details", {}, h("summary", {}, t("plugins.last_failure", { at: at(last.at), export: last.export })), h("div", { class: "callout" }, h("pre", { tabindex: "0" }, last.reason))));
  return list;
}

function callout(lead, reason) {
  return h("div", { class: "callout callout--bad" }, h("p", {}, lead), h("pre", { tabindex: "0" }, reason));
}

function factsOf(plugin) {
  const facts = [plugin.built_in ? ["origin", t("plugins.built_in")] : ["source", plugin.source]];
  if (!plugin.id) return facts;
  const { usage, capabilities } = plugin;
  const p99 = Math.max(0, ...usage.exports.map((own) => own.p99_ms));
  facts.push(
    ["id", `${plugin.id} · /${plugin.prefix}`],
    ["digest", plugin.digest],
    ["loaded", plugin.loaded_at ? at(plugin.loaded_at) : ""],
    ["used", t("plugins.used", { calls: number(usage.calls), p99: time(p99), traps: number(usage.traps) })],
    ["memory", t("plugins.memory", { peak: size(usage.peak_memory_bytes), most: size(plugin.limits.memory_mib * 2 ** 20) })],
  );
  if (capabilities.kv) facts.push(["stored", t("plugins.memory", { peak: size(usage.stored_bytes), most: size(plugin.limits.stored_kib * 1024) })]);
  if (capabilities.remote_hosts.length) facts.push(["requests", t("plugins.requests", { all: number(usage.requests), minute: number(usage.requests_in_minute), most: number(plugin.limits.requests_per_minute) })]);
  if (capabilities.events.length) facts.push(["events", capabilities.events.join(", ")]);
  return facts;
}

function fact(key, value) {
  const text = ["digest", "id", "source"].includes(key) ? h("code", {}, value) : value;
  return h("div", { class: "fact" }, h("dt", {}, t(`plugins.fact.${key === "origin" ? "source" : key}`)), h("dd", {}, text));
}

function limits({ limits: own, usage }) {
  const reached = (name) => number(usage.limits_reached[name] ?? 0);
  return [
    ["memory", size(own.memory_mib * 2 ** 20), reached("memory")],
    ["call", time(own.call_ms), reached("time")],
    ["rule", time(own.rule_ms), reached("time")],
    ["output", size(own.output_mib * 2 ** 20), reached("output")],
    ["instances", number(own.instances_each), number(usage.waited)],
    ["stored", size(own.stored_kib * 1024), reached("stored")],
    ["requests", number(own.requests_per_minute), reached("requests")],
    ["pause", time(own.fault_pause_ms), ""],
    ["quarantine", t("plugins.limit.within", { n: number(own.quarantine_traps), s: number(own.quarantine_seconds) }), ""],
  ].map(([name, most, count]) => row(t(`plugins.limit.${name}`), most, count));
}

function row(head, ...cells) {
  return h("tr", {}, h("th", { scope: "row" }, head), cells.map((cell) => h("td", {}, cell)));
}

function table(columns, body) {
  // Can be scrolled by keyboard where it is wider than the page.
  const head = h("tr", {}, columns.map((name) => h("th", { scope: "col" }, t(`plugins.column.${name}`))));
  return h("div", { class: "plugin__scroll", tabindex: "0", role: "group", "aria-label": t(`plugins.column.${columns[0]}`) }, h("table", {}, h("thead", {}, head), body));
}

function details(key, content) {
  return h("details", {}, h("summary", {}, t(key)), content);
}

function at(seconds) {
  return moment(new Date(seconds * 1000));
}

function time(ms) {
  return ms >= 1000 ? `${number(Math.round(ms / 100) / 10)} s` : `${number(ms >= 10 ? Math.round(ms) : Math.round(ms * 100) / 100)} ms`;
}

/** In the units of the settings. */
function size(bytes) {
  const [unit, count] = bytes >= 2 ** 20 ? ["MiB", bytes / 2 ** 20] : ["KiB", bytes / 1024];
  return `${number(Math.round(count * 10) / 10)} ${unit}`;
}
