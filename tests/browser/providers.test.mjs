import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, test } from "node:test";
import { violations } from "./support/axe.mjs";
import { openCard } from "./support/browser.mjs";
import { writeModel } from "./support/library.mjs";
import { cell, libraryMenu, overflow, shelf, toast } from "./support/page.mjs";

let provider;
const asked = [];
const hashes = new Map();

/** Two versions of one model; the first is of a file in the library. */
function answer(url, body) {
  const version = (id, name, sha256) => ({
    id, modelId: 5, name, baseModel: "SDXL 1.0", trainedWords: ["glow"], publishedAt: "2025-01-02T03:04:05Z", availability: "Public",
    earlyAccessEndsAt: null, usageControl: "Download", images: [], model: { name: "Amber Glow", type: "LORA" },
    files: [{ id: id * 10, name: `${name}.safetensors`, type: "Model", primary: true, sizeKB: 2048, hashes: { SHA256: sha256 } }],
  });
  const own = version(50, "v1", hashes.get("amber"));
  const model = { id: 5, name: "Amber Glow", type: "LORA", tags: ["light"], description: "<p>Glows</p>", creator: { username: "someone" }, modelVersions: [version(51, "v2", "00"), own] };
  if (url.startsWith("/models/5")) return model;
  if (url.startsWith("/models?ids=")) return { items: url.includes("ids=5&") ? [model] : [] };
  if (url === "/model-versions/by-hash" && body) return JSON.parse(body).includes(hashes.get("amber").toUpperCase()) ? [own] : [];
  if (url === `/model-versions/by-hash/${hashes.get("amber")}` || url === "/model-versions/50") return own;
  if (url === "/model-versions/51") return model.modelVersions[0];
  return null;
}

async function startProvider() {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (data) => (body += data));
    request.on("end", () => {
      asked.push({ url: request.url, key: request.headers.authorization ?? "" });
      const found = answer(request.url.replace("/api/v1", ""), body);
      response.writeHead(found ? 200 : 404, { "Content-Type": "application/json" }).end(JSON.stringify(found ?? { error: "Not found" }));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const library = shelf({
  loras: async (root) => {
    for (const name of ["amber", "birch", "cedar"]) {
      await writeModel(root, `${name}.safetensors`, { sidecar: {}, color: [200, 120, 40] });
      hashes.set(name, createHash("sha256").update(await readFile(path.join(root, `${name}.safetensors`))).digest("hex"));
    }
    return 3;
  },
}, {
  prepare: async (folder) => {
    provider = await startProvider();
    const base = `http://127.0.0.1:${provider.address().port}`;
    const config = path.join(folder, "own.toml");
    await writeFile(config, `[providers]\ncivitai = "${base}/api/v1"\ncivarchive = "${base}/archive"\nretry_seconds = 0\ncache_seconds = 0\n`);
    return ["--config", config];
  },
});
after(() => provider?.close());

async function expectClean(page) {
  assert.deepEqual(await violations(page), []);
}

test("metadata of one model comes with a button, and Undo takes it back", async () => {
  await library.openList(async (page) => {
    await openCard(page, "amber");
    await page.getByRole("button", { name: "Refresh metadata" }).last().click();
    await page.locator(".details__head", { hasText: "Amber Glow" }).waitFor();
    await page.locator(".prose", { hasText: "Glows" }).waitFor();
    await page.locator(".toast").getByRole("button", { name: "Undo" }).click();
    await page.locator(".details__head", { hasText: "amber" }).waitFor();
  });
});

test("a model is linked by the address of its page, and the details list its versions", async () => {
  await library.openList(async (page) => {
    await openCard(page, "birch");
    await page.getByRole("button", { name: "Link to…" }).click();
    const go = page.getByRole("button", { name: "Link", exact: true });
    await page.getByLabel("Address of the model's page, or its number").fill("nonsense");
    assert.equal(await go.isDisabled(), true);
    await page.getByLabel("Address of the model's page, or its number").fill("https://civitai.com/models/5/amber?modelVersionId=50");
    await expectClean(page);
    await go.click();
    await page.locator(".details__head", { hasText: "Amber Glow" }).waitFor();
    await page.getByText("Versions at the provider").click();
    await page.locator(".versions__row", { hasText: "v2" }).getByRole("button", { name: "Ignore" }).waitFor();
    await page.locator(".versions__row", { hasText: "v1" }).locator(".versions__mark", { hasText: "In the library" }).waitFor();
    await expectClean(page);
    for (const button of await page.locator(".versions button").all()) assert.equal(await overflow(button), 0, await button.textContent());

    // What is new can be had from here.
    await page.getByRole("button", { name: "Download: v2" }).click();
    await page.locator(".download-add__path", { hasText: "v2.safetensors" }).waitFor();
    await page.keyboard.press("Escape");
    assert.ok(await page.locator("#details").isVisible());
  });
});

test("all models are refreshed from the menu, updates are looked for, and a filter shows them", async () => {
  await library.openList(async (page) => {
    await libraryMenu(page, "Fetch missing metadata");
    await page.locator(".toast", { hasText: "1 model has new metadata." }).waitFor();
    await libraryMenu(page, "Look for updates");
    await page.locator(".toast", { hasText: "1 model has a newer version." }).waitFor();
    await page.locator(".mark--update").first().waitFor();
    await page.locator("#count", { hasText: "3 models" }).waitFor();
    await page.locator("#only-updates").click();
    await page.locator("#count", { hasText: "2 models" }).waitFor();
    await cell(page, "cedar").waitFor({ state: "detached" });
    await expectClean(page);
  });
});

test("a refresh that is cancelled says so, and one that ends while no messages come is no longer shown", async () => {
  let socket = null;
  await library.openList(async (page) => {
    await page.route("**/fetch-all-civitai", (route) => route.fulfill({ json: { success: false, message: "The refresh was cancelled", processed: 1, updated: 0, total: 2, failures: [], failure_count: 0 } }));
    await libraryMenu(page, "Fetch missing metadata");
    await toast(page, "The refresh ended early: The refresh was cancelled");

    const send = (message) => socket.send(JSON.stringify(message));
    const host = (name) => ({ host: name, offline: true });
    send({ type: "providers", offline: true, hosts: [host("one.test")] });
    await page.locator(".banner", { hasText: "one.test can't be reached" }).waitFor();
    send({ type: "providers", offline: true, hosts: [host("one.test"), host("two.test")] });
    await page.locator(".banner", { hasText: "one.test, two.test can't be reached" }).waitFor();

    send({ task: "fetch_all", pageType: "loras", status: "processing", processed: 1, handled: 1, total: 2, success: 0 });
    await page.locator(".banner", { hasText: "Metadata: 1 of 2" }).waitFor();
    socket.close();
    await page.locator(".banner").first().waitFor({ state: "detached" });
  }, { before: (page) => page.routeWebSocket(/fetch-progress/, (opened) => (socket = opened)) });
});

test("a key is set in the settings, is sent, and is never shown", async () => {
  await library.openList(async (page) => {
    const settings = async () => {
      await libraryMenu(page, "Settings");
      await page.getByRole("dialog", { name: "Settings" }).waitFor();
    };
    await settings();
    await expectClean(page);
    await page.getByLabel("CivitAI API key").fill("my-secret");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".toast", { hasText: "Settings saved" }).waitFor();
    await settings();
    assert.equal(await page.getByLabel("CivitAI API key").inputValue(), "");
    assert.match(await page.getByLabel("CivitAI API key").getAttribute("placeholder"), /^Set/);
    await page.keyboard.press("Escape");
    asked.length = 0;
    await page.locator(".card").first().click();
    await page.locator(".remote").getByRole("button", { name: "Refresh metadata" }).click();
    await page.waitForFunction(() => document.querySelector(".remote [role=status]").textContent === "");
    assert.ok(asked.some(({ key }) => key === "Bearer my-secret"), JSON.stringify(asked));
  }, { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
});
