import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { writeModel, writeSmallLibrary } from "./support/library.mjs";
import { libraryMenu, shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary, checkpoints: async () => 0 });

const card = (page, name) => page.locator(".card__name", { hasText: new RegExp(`^${name}$`) });

test("a file that a scan finds appears without a reload, and one that is gone leaves", async () => {
  await library.open("/loras", async (page) => {
    await card(page, "Amber Style").waitFor();
    const file = await writeModel(library.folders.loras, "new/zebra.safetensors", { sidecar: { model_name: "Zebra", base_model: "New Base" } });
    await libraryMenu(page, "Look for new");
    await card(page, "Zebra").waitFor();
    await page.locator(".choice[data-value='New Base']").waitFor();
    await page.locator("#count", { hasText: "13" }).waitFor();

    await rm(file);
    await libraryMenu(page, "Look for new");
    await card(page, "Zebra").waitFor({ state: "hidden" });
    await page.locator("#count", { hasText: "12" }).waitFor();
  });
});

test("a change is seen by a page that can't have a socket", async () => {
  await library.open("/loras", async (page) => {
    await card(page, "Amber Style").waitFor();
    const file = await writeModel(library.folders.loras, "yak.safetensors", { sidecar: { model_name: "Yak" } });
    assert.equal((await page.evaluate(() => fetch("/api/lm/loras/scan").then((answer) => answer.json()))).status, "success");
    await card(page, "Yak").waitFor();
    await rm(file);
    await page.evaluate(() => fetch("/api/lm/loras/scan").then((answer) => answer.json()));
    await card(page, "Yak").waitFor({ state: "hidden" });
  }, { before: (page) => page.routeWebSocket(/\/ws\//, (socket) => socket.close()) });
});

test("the place in the list is kept when something changes", async () => {
  await library.open("/loras", async (page) => {
    await card(page, "Willow").waitFor();
    await page.locator(".card[tabindex='0']").focus();
    await page.keyboard.press("End");
    const before = await page.locator("#scroller").evaluate((scroller) => scroller.scrollTop);
    assert.ok(before > 0);
    const answered = page.waitForResponse(/\/list\?/);
    await page.evaluate(() => fetch("/api/lm/loras/scan").then((answer) => answer.json()));
    await answered;
    await card(page, "Willow").waitFor();
    assert.equal(await page.locator("#scroller").evaluate((scroller) => scroller.scrollTop), before);
    assert.equal(await page.evaluate(() => document.activeElement.querySelector(".card__name").textContent), "Willow");
  }, { viewport: { width: 900, height: 600 } });
});

test("an empty library says which folders are looked at and how to add one", async () => {
  await library.open("/checkpoints", async (page) => {
    await page.locator(".roots__root", { hasText: library.folders.checkpoints }).waitFor();
    assert.match(await page.locator(".notice__code").textContent(), /--root \w+=/);
  });
});

test("a type that isn't ready is waited for", async () => {
  let refused = 0;
  const refuse = (route) => {
    refused += 1;
    return refused > 2 ? route.fallback() : route.fulfill({ status: 503, json: { success: false, error: "Service not ready" } });
  };
  await library.open("/loras", async (page) => {
    await page.getByRole("progressbar").first().waitFor();
    await card(page, "Amber Style").waitFor();
    assert.ok(refused > 2);
  }, { before: (page) => page.route(/\/list\?/, refuse), expected: [/status of 503/] });
});

test("an error of the server is shown and can be tried again", async () => {
  let broken = true;
  const fail = (route) => (broken ? route.fulfill({ status: 500, json: { success: false, error: "Internal error (request 42)" } }) : route.fallback());
  await library.open("/loras", async (page) => {
    await page.getByRole("alert").getByText("Internal error (request 42)").waitFor();
    broken = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await card(page, "Amber Style").waitFor();
  }, { before: (page) => page.route(/\/list\?/, fail), expected: [/status of 500/] });
});

test("the first reading of a library shows how far it is", async () => {
  const status = { success: true, ready: true, is_initializing: true, generation: 1, total: 340, problems: 0, roots: [], progress: { stage: "process_models", progress: 42, details: "", scanner_type: "lora", pageType: "loras" } };
  await library.open("/loras", async (page) => {
    const bar = page.locator("#notice [role=progressbar]");
    await page.waitForFunction(() => document.querySelector("#notice [role=progressbar]")?.getAttribute("aria-valuenow") === "42");
    await page.locator("#notice").getByText("340 models").waitFor();
    status.progress.progress = 77;
    await page.waitForFunction(() => document.querySelector("#notice [role=progressbar]").getAttribute("aria-valuenow") === "77");
    assert.equal(await bar.getAttribute("aria-label"), "Reading the library");
  }, {
    before: async (page) => {
      await page.route(/\/status$/, (route) => route.fulfill({ json: status }));
      await page.route(/\/list\?/, (route) => route.fulfill({ json: { items: [], total: 0, page: 1, page_size: 100, total_pages: 0 } }));
    },
  });
});

test("a page that can't ask about its plugin goes on without", async () => {
  await library.open("/loras", async (page) => {
    await page.waitForResponse("**/api/lm/plugins").catch(() => {});
    await card(page, "Amber Style").waitFor();
  }, { before: (page) => page.route("**/api/lm/plugins", (route) => route.fulfill({ body: "no JSON" })) });
});

test("a folder that was not found is named apart from one that is away", async () => {
  await library.open("/loras", async (page) => {
    await page.locator(".banner--warn", { hasText: "not found" }).filter({ hasText: "/mnt/nevre" }).waitFor();
    await page.locator(".banner--warn", { hasText: "away" }).filter({ hasText: "/mnt/gone" }).waitFor();
    assert.equal(await page.locator(".banner--warn", { hasText: "/mnt/nevre" }).filter({ hasText: "/mnt/gone" }).count(), 0);
  }, {
    before: (page) => page.route(/\/status$/, async (route) => {
      const answer = await route.fetch();
      const status = await answer.json();
      const others = [["/mnt/nevre", true], ["/mnt/gone", false]].map(([path, missing]) => ({ path, key: "loras", online: false, missing }));
      await route.fulfill({ json: { ...status, roots: [...status.roots, ...others] } });
    }),
  });
});

test("a folder that is away is named above the list", async () => {
  await library.open("/loras", async (page) => {
    await page.locator(".banner--warn", { hasText: "/mnt/away" }).waitFor();
    await card(page, "Amber Style").waitFor();
  }, {
    before: (page) => page.route(/\/status$/, async (route) => {
      const answer = await route.fetch();
      const status = await answer.json();
      await route.fulfill({ json: { ...status, roots: [...status.roots, { path: "/mnt/away", key: "loras", online: false }] } });
    }),
  });
});
