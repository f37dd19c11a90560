import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

// The server's side of this is tested with the server; here its messages are made up.

const library = shelf({ loras: writeSmallLibrary });

const SCAN = { type: "activity", pageType: "loras", phase: "walking", done: 120, total: 0, bytes_done: 0, bytes_total: 0, bytes_per_second: 0, seconds_left: null, state: "running" };
const HASHING = { type: "activity", pageType: "loras", phase: "hashing", done: 12, total: 340, bytes_done: 3.1e9, bytes_total: 20e9, bytes_per_second: 210e6, seconds_left: 190, state: "running" };

/** Opens the page with sockets of its own: `check(page, send, asked)`. `asked` collects what the page posts. */
async function withActivity(check, { activity = null, ...options } = {}) {
  let send = null;
  const asked = [];
  await library.open("/loras", async (page) => {
    await page.locator("#count", { hasText: "12" }).waitFor();
    await check(page, (message) => send(JSON.stringify(message)), asked);
  }, {
    ...options,
    before: async (page) => {
      await page.routeWebSocket(/\/ws\/fetch-progress/, (socket) => {
        send = (text) => socket.send(text);
      });
      await page.route(/\/status$/, async (route) => {
        // The page may ask once more while it is closed.
        await route.fetch().then(async (fetched) => route.fulfill({ json: { ...(await fetched.json()), activity } })).catch(() => {});
      });
      await page.route(/\/(hashing\/(pause|resume)|cancel-task)$/, async (route) => {
        const { pathname } = new URL(route.request().url());
        asked.push(pathname);
        const state = pathname.endsWith("pause") ? "paused" : "running";
        activity = activity?.map((each) => ({ ...each, state })) ?? null;
        await route.fulfill({ json: { success: true } });
      });
    },
  });
}

const row = (page, text) => page.locator(".activity__row", { hasText: text });

test("work shows how far it is, how fast and how long it will take, and goes when it is over", async () => {
  await withActivity(async (page, send) => {
    assert.ok(await page.locator("#activity").isHidden());
    send(HASHING);
    await row(page, "Computing checksums").waitFor();
    const text = await page.locator(".activity__more").textContent();
    assert.equal(text, "12 of 340 · 3.1 GB of 20 GB · 210 MB/s · about 3 minutes left");
    const bar = page.locator("#activity [role=progressbar]");
    assert.equal(await bar.getAttribute("aria-valuenow"), "16");
    assert.match(await bar.getAttribute("aria-valuetext"), /210 MB\/s/);
    send({ ...HASHING, pageType: "checkpoints", done: 99 });
    send({ ...HASHING, done: 339, bytes_done: 19.9e9, seconds_left: 1 });
    await row(page, "339 of 340").waitFor();
    await row(page, "less than a minute left").waitFor();
    send({ ...HASHING, state: "done" });
    await page.locator("#activity").waitFor({ state: "hidden" });
  });
});

test("a scan is stopped from there, and what is over at once is not shown", async () => {
  await withActivity(async (page, send, asked) => {
    send(SCAN);
    send({ ...SCAN, state: "done" });
    await page.waitForTimeout(900);
    assert.ok(await page.locator("#activity").isHidden());

    send(SCAN);
    await row(page, "120 files so far").waitFor();
    send({ ...SCAN, phase: "reading", done: 3, total: 40, files_per_second: 12.4 });
    await row(page, "3 of 40 · 12 files/s").waitFor();
    assert.equal(await page.locator(".activity__row").count(), 1);
    await page.getByRole("button", { name: "Stop looking for changes" }).click();
    assert.deepEqual(asked, ["/api/lm/loras/cancel-task"]);
    send({ ...SCAN, phase: "reading", state: "cancelled" });
    await page.locator("#activity").waitFor({ state: "hidden" });
  });
});

test("hashing is paused and goes on, with the keyboard", async () => {
  await withActivity(async (page, send, asked) => {
    send(HASHING);
    await page.getByRole("button", { name: "Pause computing checksums" }).focus();
    await page.keyboard.press("Enter");
    const resume = page.getByRole("button", { name: "Go on computing checksums" });
    await resume.waitFor();
    assert.ok(await resume.evaluate((button) => button === document.activeElement));
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Pause computing checksums" }).waitFor();
    assert.deepEqual(asked, ["/api/lm/hashing/pause", "/api/lm/hashing/resume"]);
  }, { activity: [HASHING] });
});

test("a page that is opened meanwhile learns of it from the status", async () => {
  await withActivity(async (page) => {
    await row(page, "Checksums are paused").waitFor();
    assert.ok(!(await page.locator(".activity__more").textContent()).includes("/s"));
  }, { activity: [{ ...HASHING, state: "paused" }] });
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing wrong with it in the ${colorScheme} theme, and it fits a phone`, async () => {
    await withActivity(async (page) => {
      await row(page, "Computing checksums").waitFor();
      await row(page, "Reading new").waitFor();
      assert.deepEqual(await violations(page), []);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    }, { colorScheme, viewport: { width: 360, height: 740 }, activity: [HASHING, { ...SCAN, phase: "reading", done: 3, total: 40 }] });
  });
}
