import assert from "node:assert/strict";
import { copyFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { violations } from "./support/axe.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { libraryMenu, overflow, picture, shelf, toast } from "./support/page.mjs";

const GUESTS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../target/guests");

let file;

const host = shelf({ loras: writeSmallLibrary }, {
  prepare: async (folder) => {
    file = path.join(folder, "capable.wasm");
    await copyFile(path.join(GUESTS, "capable.wasm"), file);
    const config = path.join(folder, "settings.toml");
    await writeFile(config, "[limits]\nquarantine_traps = 3\n[plugins.capable.grants]\nremote_hosts = ['localhost']\n");
    return ["--plugin", file, "--config", config];
  },
});

const box = (page, name) => page.locator(".plugin", { has: page.getByRole("heading", { name, exact: true }) });

test("each plugin is shown with its state, source and what it used", async () => {
  await host.open("/loras", async (page) => {
    await libraryMenu(page, "Plugins");
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

test("a crate that is built for the first time is shown, and offers nothing yet", async () => {
  await host.open("/plugins", async (page) => {
    await page.route("**/api/plugins", async (route) => {
      const answer = await (await route.fetch()).json();
      answer.plugins.push({ state: "building", reason: null, source: "/types/mine", built_in: false, failure: null });
      await route.fulfill({ json: answer });
    });
    await page.reload();
    const own = box(page, "/types/mine");
    await own.locator(".plugin__state", { hasText: "Being built" }).waitFor();
    assert.equal(await own.getByRole("button").count(), 0);
  });
});

test("hosts are granted and revoked by keyboard, but for those of the settings", async () => {
  await host.open("/plugins", async (page) => {
    const own = box(page, "Capables");
    const grant = own.getByRole("checkbox", { name: "models.example" });
    await grant.focus();
    await page.keyboard.press("Space");
    await toast(page, "May reach models.example");
    await page.reload();
    assert.ok(await grant.isChecked());
    assert.ok(await own.getByRole("checkbox", { name: "localhost" }).isDisabled());
    await grant.focus();
    await page.keyboard.press("Space");
    await toast(page, "May no longer reach models.example");
    await page.waitForFunction(() => document.activeElement.value === "models.example");
  });
});

test("a plugin is disabled and enabled, and its page says so", async () => {
  await host.open("/plugins", async (page) => {
    const own = box(page, "Capables");
    await own.getByRole("button", { name: "Disable" }).focus();
    await page.keyboard.press("Enter");
    await own.locator(".plugin__state", { hasText: "Disabled" }).waitFor();
    // A page that is open says so, too.
    const list = await page.context().newPage();
    await list.goto(`${host.url}/loras`);
    const loras = box(page, "LoRAs");
    await loras.getByRole("button", { name: "Disable" }).click();
    const banner = list.locator(".banner", { hasText: "This page’s plugin is disabled." });
    await banner.getByRole("link", { name: "Plugins" }).waitFor();
    assert.deepEqual(await violations(list), []);
    await loras.getByRole("button", { name: "Enable" }).click();
    await banner.waitFor({ state: "detached" });
    await list.close();

    const answer = await fetch(`${host.url}/capables`);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /disabled/);
    await own.getByRole("button", { name: "Enable" }).click();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
  });
});

test("a version that can't be loaded, and a quarantine, are shown with the reason until a reload", async () => {
  await host.open("/plugins", async (page) => {
    const own = box(page, "Capables");
    await own.waitFor();
    await writeFile(file, "no component");
    await own.getByRole("button", { name: "Reload" }).click();
    await own.getByText("is no model type for this host").waitFor();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
    await copyFile(path.join(GUESTS, "capable.wasm"), file);
    await own.getByRole("button", { name: "Reload" }).click();
    await own.getByText("is no model type for this host").waitFor({ state: "detached" });

    const list = await page.context().newPage();
    await list.goto(`${host.url}/capables`);
    await list.locator("#count").waitFor();
    for (let count = 0; count < 3; count += 1) await fetch(`${host.url}/api/lm/capables/trap`);
    await list.locator(".banner", { hasText: "failed too often" }).locator("pre", { hasText: "3 times within" }).waitFor();
    await list.close();
    await own.locator(".plugin__state", { hasText: "Quarantined" }).waitFor();
    await own.getByText("3 times within").waitFor();
    assert.deepEqual(await violations(page), []);
    await own.scrollIntoViewIfNeeded();
    await picture(page, "plugins-quarantine");
    await own.getByRole("button", { name: "Reload" }).click();
    await own.locator(".plugin__state", { hasText: "In service" }).waitFor();
  }, { expected: [/status of 422/] });
});

for (const colorScheme of ["light", "dark"]) {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    test(`axe finds nothing wrong with the page of plugins in the ${colorScheme} theme at ${width} px`, async () => {
      await host.open("/plugins", async (page) => {
        const own = box(page, "Capables");
        await own.waitFor();
        for (const summary of await own.locator("summary").all()) await summary.click();
        assert.deepEqual(await violations(page), []);
        assert.equal(await overflow(own), 0);
        await page.locator("#main").evaluate((main) => main.scrollTo(0, 0));
        await picture(page, `plugins-${colorScheme}-${width}`);
      }, { colorScheme, viewport: { width, height } });
    });
  }
}
