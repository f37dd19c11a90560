import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { expectNames, openCard, startBrowser, withPage } from "./support/browser.mjs";
import { startHost } from "./support/host.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { picture } from "./support/page.mjs";
import { startProxy } from "./support/proxy.mjs";

// What ComfyUI-LM-Remote forwards.
const PREFIXES = ["/api/lm/", "/loras_static/", "/locales/", "/ws/", "/loras", "/checkpoints", "/embeddings"];

let host;
let proxy;
let browser;
before(async () => {
  host = await startHost({ loras: writeSmallLibrary });
  proxy = await startProxy(host.url, PREFIXES);
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await proxy?.stop();
  await host?.stop();
});

test("pages work through a proxy that knows LoraManager's addresses alone", async () => {
  await withPage(browser, `${proxy.url}/loras`, async (page) => {
    await page.locator("#count", { hasText: "12 models" }).waitFor();
    await page.locator("#search-input").fill("knight");
    await expectNames(page, ["Knight"]);
    await openCard(page, "Knight");
    await page.locator("#details .star").click();
    await page.locator(".toast", { hasText: "Knight" }).first().waitFor();
    await page.keyboard.press("Escape");
    // Sockets bring what changes.
    assert.equal(await page.evaluate(() => document.fonts.size > 0), true);
    await picture(page, "proxied");
  });
  assert.deepEqual(proxy.refused, []);
});
