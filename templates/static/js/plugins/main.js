// The page of plugins: what is loaded, how it does, and what it may.

import { Api } from "../api.js";
import { byId } from "../dom.js";
import { reasonOf } from "../reason.js";
import { mountTheme } from "../theme.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";
import { PluginBox } from "./box.js";

const AGAIN = 3000;

const api = new Api("", "/api/");
const boxes = new Map();
let timer = 0;

mountTheme();

/** Does something with a plugin, says what came of it, and shows how things are then. */
async function act(plugin, action, body, done) {
  try {
    await api.post(`plugins/${encodeURIComponent(plugin.id ?? plugin.source)}/${action}`, body);
    toast(done);
  } catch (error) {
    toast(reasonOf(error), { bad: true });
  }
  await refresh();
}

function show(plugins) {
  const keys = plugins.map((plugin) => plugin.id ?? plugin.source);
  for (const [key, box] of boxes) {
    if (keys.includes(key)) continue;
    box.element.remove();
    boxes.delete(key);
  }
  plugins.forEach((plugin, index) => {
    const box = boxes.get(keys[index]) ?? new PluginBox(act);
    boxes.set(keys[index], box);
    box.update(plugin);
    const list = byId("plugins");
    if (list.children[index] !== box.element) list.insertBefore(box.element, list.children[index] ?? null);
  });
}

async function refresh() {
  clearTimeout(timer);
  const failed = byId("plugins-error");
  try {
    show((await api.get("plugins")).plugins);
    failed.hidden = true;
  } catch (error) {
    failed.textContent = reasonOf(error);
    failed.hidden = false;
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, AGAIN);
}

document.addEventListener("visibilitychange", refresh);
refresh();
