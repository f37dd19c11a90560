import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { startBrowser, withPage } from "./support/browser.mjs";
import { startHost } from "./support/host.mjs";

const CONTENT = Buffer.alloc(600_000, "x");
const SHOTS = process.env.MODELSHELF_SHOTS;

let provider;
let host;
let browser;
let slow = false;

/** A provider with one model of two versions, and files that come as slowly as a test wants. */
async function startProvider() {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, `http://${request.headers.host}`);
    const json = (value, status = 200) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    const version = (id, name) => ({
      id, modelId: 77, name, baseModel: "SDXL 1.0", images: [], trainedWords: [], publishedAt: "2025-01-02T03:04:05Z",
      model: { name: "Heron", type: "LORA" },
      files: [{ id: id * 10, name: `heron-${name}.safetensors`, type: "Model", primary: true, sizeKB: CONTENT.length / 1024, metadata: { format: "SafeTensor", fp: "fp16" }, hashes: { SHA256: createHash("sha256").update(CONTENT).digest("hex") }, downloadUrl: `${url.origin}/api/download/models/${id}` }],
    });
    const versions = { 771: version(771, "v2"), 770: version(770, "v1") };
    const [, id] = /^\/api\/v1\/model-versions\/(\d+)$/.exec(url.pathname) ?? [];
    if (url.pathname === "/api/v1/models/77") json({ id: 77, name: "Heron", type: "LORA", tags: ["animal"], creator: { username: "u" }, modelVersions: [versions[771], versions[770]] });
    else if (versions[id]) json(versions[id]);
    else if (url.pathname.startsWith("/api/download/")) {
      response.writeHead(200, { "content-length": CONTENT.length });
      for (let at = 0; at < CONTENT.length && !response.destroyed; at += 20_000) {
        response.write(CONTENT.subarray(at, at + 20_000));
        if (slow) await new Promise((resolve) => setTimeout(resolve, 200));
      }
      response.end();
    } else json({ error: "not found" }, 404);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { base: `http://127.0.0.1:${server.address().port}/api/v1`, stop: () => server.closeAllConnections() ?? server.close() };
}

before(async () => {
  provider = await startProvider();
  host = await startHost({ loras: async () => 0 }, {
    prepare: async (folder) => {
      await mkdir(path.join(folder, "data"), { recursive: true });
      await writeFile(path.join(folder, "data/settings.toml"), `[providers]\ncivitai = "${provider.base}"\nretry_seconds = 0.01\n`);
      return [];
    },
  });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await host?.stop();
  provider?.stop();
});

const open = (check, options) => withPage(browser, `${host.url}/loras`, async (page) => {
  await page.keyboard.press("d");
  await page.locator("dialog.downloads").waitFor();
  await check(page);
}, options);

async function shot(page, name) {
  if (SHOTS) await page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
}

async function clean(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`)}`), []);
}

test("an address leads to versions, files and the path, and the file to the library, all by keyboard", async () => {
  await open(async (page) => {
    assert.equal(await page.evaluate(() => document.activeElement.id), "download-address");
    await page.keyboard.type("no address");
    await page.locator(".download-add__note", { hasText: "no id" }).waitFor();
    await page.locator("#download-address").fill("https://civitai.com/models/77/heron?modelVersionId=770");
    await page.locator(".download-add__path", { hasText: "SDXL 1.0/animal/heron-v1.safetensors" }).waitFor();
    await page.locator("#download-version").selectOption("771");
    await page.locator(".download-add__path", { hasText: "heron-v2.safetensors" }).waitFor();
    await page.locator("#download-root").selectOption(host.folders.loras);
    await page.locator("#download-folder").fill("birds");
    await page.locator(".download-add__path", { hasText: "/loras/birds/heron-v2.safetensors" }).waitFor();
    await clean(page);
    await shot(page, "downloads-add");
    await page.locator("#download-address").focus();
    await page.keyboard.press("Enter");
    await page.locator(".downloads__row", { hasText: "In the library" }).waitFor({ timeout: 20_000 });
    assert.equal((await stat(path.join(host.folders.loras, "birds/heron-v2.safetensors"))).size, CONTENT.length);
    await page.keyboard.press("Escape");
    await page.locator(".card__name", { hasText: "Heron" }).waitFor();
  });
});

for (const [colorScheme, width] of [["light", 1440], ["dark", 390]]) {
  test(`a download is held, goes on, is cancelled and tried again (${colorScheme}, ${width} pixels)`, async () => {
    slow = true;
    await open(async (page) => {
      await page.locator("#download-address").fill("https://civitai.com/models/77?modelVersionId=770");
      await page.locator(".download-add__path", { hasText: "heron-v1" }).waitFor();
      await page.getByRole("button", { name: "Download", exact: true }).click();
      const row = page.locator(".downloads__row", { hasText: "Heron · v1" }).first();
      await row.locator(".downloads__facts", { hasText: /Downloading · .+ of 600/ }).waitFor({ timeout: 20_000 });
      await clean(page);
      await shot(page, `downloads-queue-${width}-${colorScheme}`);
      await page.getByRole("button", { name: "Pause: Heron" }).click();
      await row.locator(".downloads__facts", { hasText: "Paused" }).waitFor();
      await page.getByRole("button", { name: "Go on: Heron" }).click();
      await row.locator(".downloads__facts", { hasText: "Downloading" }).waitFor();
      await page.getByRole("button", { name: "Cancel: Heron" }).click();
      await page.locator(".downloads__row", { hasText: "Cancelled" }).waitFor();
      await shot(page, `downloads-history-${width}-${colorScheme}`);
      await page.getByRole("button", { name: "Retry: Heron" }).click();
      await page.getByRole("button", { name: "Cancel: Heron" }).click();
      await page.locator(".downloads__row", { hasText: "Cancelled" }).waitFor();
      await page.getByRole("button", { name: "Empty this list" }).click();
      await page.locator(".downloads__row").first().waitFor({ state: "detached" });
    }, { colorScheme, viewport: { width, height: 844 } });
    slow = false;
  });
}
