import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, test } from "node:test";
import { violations } from "./support/axe.mjs";
import { hasFocus, overflow, picture, shelf } from "./support/page.mjs";

const CONTENT = Buffer.alloc(600_000, "x");

let provider;
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
    else if (id > 771_000 - 1) return; // Never answers: a download that lasts.
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

const library = shelf({ loras: async () => 0 }, {
  prepare: async (folder) => {
    provider = await startProvider();
    await mkdir(path.join(folder, "data"), { recursive: true });
    await writeFile(path.join(folder, "data/settings.toml"), `[providers]\ncivitai = "${provider.base}"\nretry_seconds = 0.01\n`);
    return [];
  },
});
after(() => provider?.stop());

const open = (check, options) => library.open("/loras", async (page) => {
  await page.keyboard.press("d");
  await page.locator("dialog.downloads").waitFor();
  await check(page);
}, options);

async function clean(page) {
  assert.deepEqual(await violations(page), []);
}

test("an address leads to versions, files and the path, and the file to the library, all by keyboard", async () => {
  await open(async (page) => {
    assert.equal(await page.evaluate(() => document.activeElement.id), "download-address");
    await page.keyboard.type("no address");
    await page.locator(".download-add__note", { hasText: "no id" }).waitFor();
    await page.locator("#download-address").fill("https://civitai.com/models/77/heron?modelVersionId=770");
    await page.locator(".download-add__path", { hasText: "SDXL 1.0/animal/heron-v1.safetensors" }).waitFor();
    // What there is no row for leaves nothing.
    assert.doesNotMatch(await page.locator("dialog[open]").innerText(), /false|undefined|null/);
    await page.locator("#download-version").selectOption("771");
    await page.locator(".download-add__path", { hasText: "heron-v2.safetensors" }).waitFor();
    await page.locator("#download-root").selectOption(library.folders.loras);
    await page.locator("#download-folder").fill("birds");
    await page.locator(".download-add__path", { hasText: "/loras/birds/heron-v2.safetensors" }).waitFor();
    await clean(page);
    await picture(page, "downloads-add");
    await page.locator("#download-address").focus();
    await page.keyboard.press("Enter");
    await page.locator(".downloads__row", { hasText: "In the library" }).waitFor({ timeout: 20_000 });
    assert.equal((await stat(path.join(library.folders.loras, "birds/heron-v2.safetensors"))).size, CONTENT.length);
    await page.keyboard.press("Escape");
    await page.locator(".card__name", { hasText: "Heron" }).waitFor();
  });
});

test("addresses of files, AIR names and short addresses say which file is meant", async () => {
  await open(async (page) => {
    const named = (texts) => page.evaluate(async (texts) => {
      const main = document.querySelector("script[type=module]").src;
      const { named } = await import(new URL("downloads/address.js", main.slice(0, main.indexOf("/js/") + 4)).href);
      return texts.map((text) => named(text));
    }, texts);
    assert.deepEqual(await named([
      "https://civitai.com/api/download/models/770?type=Model&format=SafeTensor&size=pruned&fp=fp16&token=x",
      "https://civitai.com/models/77?modelVersionId=770&type=Model",
      "urn:air:sdxl:lora:civitai:77@770",
      "air:flux1:checkpoint:civitai:77",
      "sdxl:lora:civitai:77@770.safetensors",
      "urn:air:flux1:lora:huggingface:o/r.x@main",
      "https://hf.co/o/r/resolve/main/sub/a%20b.safetensors",
      "hf.co/o/r",
      "urn:air:sdxl:lora:other:77@770",
    ]), [
      { model_version_id: 770, file_params: { type: "Model", format: "SafeTensor", size: "pruned", fp: "fp16" } },
      { model_id: 77, model_version_id: 770 },
      { model_id: 77, model_version_id: 770 },
      { model_id: 77 },
      { model_id: 77, model_version_id: 770 },
      { repo: "o/r.x", revision: "main" },
      { repo: "o/r", revision: "main", filename: "sub/a b.safetensors" },
      { repo: "o/r" },
      null,
    ]);
    await page.locator("#download-address").fill("urn:air:sdxl:lora:civitai:77@770");
    await page.locator(".download-add__path", { hasText: "heron-v1" }).waitFor();
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
      assert.equal(await overflow(page.locator("dialog.downloads")), 0);
      await picture(page, `downloads-queue-${width}-${colorScheme}`);
      await page.getByRole("button", { name: "Pause: Heron" }).click();
      await row.locator(".downloads__facts", { hasText: "Paused" }).waitFor();
      await page.getByRole("button", { name: "Go on: Heron" }).click();
      await row.locator(".downloads__facts", { hasText: "Downloading" }).waitFor();
      await page.getByRole("button", { name: "Cancel: Heron" }).click();
      await page.locator(".downloads__row", { hasText: "Cancelled" }).waitFor();
      await picture(page, `downloads-history-${width}-${colorScheme}`);
      await page.getByRole("button", { name: "Retry: Heron" }).click();
      await page.getByRole("button", { name: "Cancel: Heron" }).click();
      await page.locator(".downloads__row", { hasText: "Cancelled" }).waitFor();
      await page.getByRole("button", { name: "Empty this list" }).click();
      await page.locator(".downloads__row").first().waitFor({ state: "detached" });
    }, { colorScheme, viewport: { width, height: 844 } });
    slow = false;
  });
}

test("more downloads than a browser has connections hold nothing up", async () => {
  await open(async (page) => {
    await page.route("**/downloads/plan", async (route) => {
      const { model_id: id } = route.request().postDataJSON();
      await route.fulfill({ json: { success: true, model_id: id, model_version_id: id, model_name: `Bird ${id}`, model_type: "lora", versions: [{ id, name: "v1" }], files: [], roots: [], folder: "/loras", file_name: "bird.safetensors" } });
    });
    for (let id = 771_000; id < 771_008; id += 1) {
      await page.locator("#download-address").fill(String(id));
      await page.locator(".download-add__name", { hasText: `Bird ${id}` }).waitFor();
      const answer = page.waitForResponse((response) => response.url().endsWith("/download-model"), { timeout: 5000 });
      await page.getByRole("button", { name: "Download", exact: true }).click();
      assert.deepEqual(Object.keys(await (await answer).json()).sort(), ["download_id", "queued", "success"]);
      await page.locator(".download-add__note", { hasText: "in the queue" }).waitFor();
    }
    await page.locator(".downloads__row", { hasText: "Bird 771007" }).waitFor();
    assert.equal(await page.locator(".downloads__row", { hasText: "Bird" }).count(), 8);
    await fetch(`${library.url}/api/lm/downloads/queue/clear`);
    await page.getByRole("button", { name: "Empty this list" }).click();
    await page.locator(".downloads__row").first().waitFor({ state: "detached" });
  });
});

test("an address stays while the server can't be told of it", async () => {
  await open(async (page) => {
    await page.locator("#download-address").fill("https://civitai.com/models/77?modelVersionId=770");
    await page.locator(".download-add__path", { hasText: "heron-v1" }).waitFor();
    await page.route("**/download-model", (route) => route.abort());
    const go = page.getByRole("button", { name: "Download", exact: true });
    await go.click();
    const note = page.locator(".download-add__note", { hasText: "The server doesn’t answer." });
    await note.waitFor();
    assert.equal(await page.locator("#download-address").inputValue(), "https://civitai.com/models/77?modelVersionId=770");
    assert.ok(await go.isEnabled());
    assert.equal(await note.evaluate((element) => getComputedStyle(element).color), await page.evaluate(() => {
      const probe = document.createElement("p");
      probe.className = "edit__error";
      document.body.append(probe);
      const { color } = getComputedStyle(probe);
      probe.remove();
      return color;
    }));
    await clean(page);
  }, { expected: [/Failed to load resource/] });
});

test("what is typed as a folder is not overtaken by Enter, and a bad address stops nothing", async () => {
  await open(async (page) => {
    const started = [];
    page.on("request", (request) => request.url().endsWith("/download-model") && started.push(request.postDataJSON()));
    const address = page.locator("#download-address");
    const form = page.locator(".download-add");
    await address.fill("https://civitai.com/models/77/50%-off?modelVersionId=770");
    await page.locator("#download-root").selectOption(library.folders.loras);
    await page.locator(".download-add__path", { hasText: "/loras/heron-v1" }).waitFor();
    await page.locator("#download-folder").fill("herons");
    await page.keyboard.press("Enter");
    assert.ok(await page.getByRole("button", { name: "Download", exact: true }).isDisabled());
    await page.locator(".download-add__path", { hasText: "/loras/herons/heron-v1" }).waitFor();
    assert.deepEqual(started, []);

    await page.route("**/downloads/plan", () => {});
    await address.fill("77");
    await page.locator(".download-add[aria-busy]").waitFor();
    await address.fill("");
    assert.equal(await form.getAttribute("aria-busy"), null);
  });
});

test("the focus stays on a button while the lists are asked for again and again, and goes with its row", async () => {
  const item = (id, status) => ({ download_id: id, model_name: id, version_name: "v1", status, progress: 0, bytes_downloaded: 0, total_bytes: 0, bytes_per_second: 0 });
  let queue = [item("one", "downloading"), item("two", "queued"), item("three", "queued")];
  let history = [4, 5].map((id) => ({ id, model_name: `ended ${id}`, status: "failed", completed_at: 1_700_000_000, error: "gone" }));
  let asked = 0;
  await open(async (page) => {
    const polled = async () => {
      const before = asked;
      for (let tries = 0; asked < before + 3 && tries < 400; tries += 1) await page.waitForTimeout(50);
    };
    const forget = page.getByRole("button", { name: "Take out of the list: ended 4" });
    await forget.focus();
    await polled();
    assert.ok(await hasFocus(forget), "the focus went to another button");
    history = [{ ...history[0], error: "gone again" }, history[1]];
    await page.getByText("gone again").waitFor();
    assert.ok(await hasFocus(forget), "the focus went to another button when the list changed");
    history = [history[1]];
    await forget.waitFor({ state: "detached" });
    assert.ok(await hasFocus(page.locator("#download-address")));

    const first = page.getByRole("button", { name: "Download next: three" });
    await first.focus();
    queue = [queue[0], queue[2], queue[1]];
    await page.locator(".downloads__row", { hasText: /^three/ }).and(page.locator(":nth-child(2)")).waitFor();
    assert.ok(await hasFocus(first), "the focus is lost with the row's place");
    queue = [{ ...queue[1], status: "downloading" }, queue[2]];
    await first.waitFor({ state: "hidden" });
    assert.ok(await hasFocus(page.getByRole("button", { name: "Pause: three" })));
  }, {
    before: async (page) => {
      await page.route("**/downloads/queue", (route) => route.fulfill({ json: { success: true, queue, stats: { failed: 0, canceled: 0 } } }));
      await page.route("**/downloads/history?*", (route) => {
        asked += 1;
        return route.fulfill({ json: { success: true, items: history, total: history.length } });
      });
    },
  });
});
