import assert from "node:assert/strict";
import { copyFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { startBrowser, withPage } from "./support/browser.mjs";
import { startHost } from "./support/host.mjs";
import { writeSmallLibrary } from "./support/library.mjs";

const GUESTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../target/guests");

let host;
let browser;
let file;

before(async () => {
  host = await startHost({ loras: writeSmallLibrary }, {
    prepare: async (folder) => {
      file = path.join(folder, "capable.wasm");
      await copyFile(path.join(GUESTS, "capable.wasm"), file);
      const config = path.join(folder, "settings.toml");
      await writeFile(config, "[limits]\nquarantine_traps = 3\n[plugins.capable.grants]\nremote_hosts = ['localhost']\n");
      return ["--plugin", file, "--config", config];
    },
  });
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await host?.stop();
});

const box = (page, name) => page.locator(".plugin", { has: page.getByRole("heading", { name, exact: true }) });

async function isClean(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target)}`), []);
}

test("each plugin is shown with its state, source and what it used", async () => {
  await withPage(browser, `${host.url}/loras`, async (page) => {
    await page.locator("#library-menu").click();
    await page.getByRole("menuitem", { name: "Plugins" }).click();
    const own = box(page, "Capables");
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
    await own.getByText("Version 1.2.3").waitFor();
    await own.getByText(file).waitFor();
    await box(page, "LoRAs").getByText("Part of the server").waitFor();
    await own.getByText("Routes of its own").click();
    await own.getByText("GET /api/lm/capables/fetch").waitFor();
    await own.getByText("Limits", { exact: true }).click();
    await own.getByRole("row", { name: "Memory of a call" }).waitFor();
  });
});

test("hosts are granted and revoked by keyboard, but for those of the settings", async () => {
  await withPage(browser, `${host.url}/plugins`, async (page) => {
    const own = box(page, "Capables");
    const grant = own.getByRole("checkbox", { name: "models.example" });
    await grant.focus();
    await page.keyboard.press("Space");
    await page.getByText("May reach models.example").waitFor();
    await page.reload();
    assert.ok(await grant.isChecked());
    assert.ok(await own.getByRole("checkbox", { name: "localhost" }).isDisabled());
    await grant.focus();
    await page.keyboard.press("Space");
    await page.getByText("May no longer reach models.example").waitFor();
    await page.waitForFunction(() => document.activeElement.value === "models.example");
  });
});

test("a plugin is disabled and enabled, and its page says so", async () => {
  await withPage(browser, `${host.url}/plugins`, async (page) => {
    const own = box(page, "Capables");
    await own.getByRole("button", { name: "Disable" }).focus();
    await page.keyboard.press("Enter");
    await own.locator(".plugin__state", { hasText: "Disabled" }).waitFor();
    const answer = await fetch(`${host.url}/capables`);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /disabled/);
    await own.getByRole("button", { name: "Enable" }).click();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
  });
});

test("a version that can't be loaded, and a quarantine, are shown with the reason until a reload", async () => {
  await withPage(browser, `${host.url}/plugins`, async (page) => {
    const own = box(page, "Capables");
    await own.waitFor();
    await writeFile(file, "no component");
    await own.getByRole("button", { name: "Reload" }).click();
    await own.getByText("is no model type for this host").waitFor();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
    await copyFile(path.join(GUESTS, "capable.wasm"), file);
    await own.getByRole("button", { name: "Reload" }).click();
    await own.getByText("is no model type for this host").waitFor({ state: "detached" });

    for (let count = 0; count < 3; count += 1) await fetch(`${host.url}/api/lm/capables/trap`);
    await own.locator(".plugin__state", { hasText: "Quarantined" }).waitFor();
    await own.getByText("3 times within").waitFor();
    await isClean(page);
    await own.getByRole("button", { name: "Reload" }).click();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
  });
});

for (const colorScheme of ["light", "dark"]) {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    test(`axe finds nothing wrong with the page of plugins in the ${colorScheme} theme at ${width} px`, async () => {
      await withPage(browser, `${host.url}/plugins`, async (page) => {
        const own = box(page, "Capables");
        await own.waitFor();
        for (const summary of await own.locator("summary").all()) await summary.click();
        await isClean(page);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
        assert.ok(!wide, "the page is wider than the window");
        if (process.env.SCREENSHOTS) await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `plugins-${colorScheme}-${width}.png`) });
      }, { colorScheme, viewport: { width, height } });
    });
  }
}
