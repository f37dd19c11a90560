import assert from "node:assert/strict";
import { test } from "node:test";
import { focusedName } from "./support/browser.mjs";
import { writeModel } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const COUNT = 10_000;

const library = shelf({
  loras: async (root) => {
    for (let start = 0; start < COUNT; start += 200) {
      await Promise.all(Array.from({ length: 200 }, (_, at) => writeModel(root, `${Math.floor((start + at) / 500)}/model ${start + at + 1}.safetensors`, { sidecar: null })));
    }
    return COUNT;
  },
});

const open = (check, options) => library.open("/loras", check, options);
const lastCard = (page) => page.locator(".card__name", { hasText: `model ${COUNT}` });
const elements = (page) => page.evaluate(() => document.getElementsByTagName("*").length);

test("the list scrolls to the last of 10,000 models with a constant number of elements", async () => {
  await open(async (page) => {
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    const before = await elements(page);
    await page.locator("#scroller").evaluate((scroller) => {
      scroller.scrollTop = scroller.scrollHeight;
    });
    await lastCard(page).waitFor();
    const box = await lastCard(page).boundingBox();
    assert.ok(box.y > 0 && box.y + box.height < 800, "the last card is in view");
    assert.ok((await elements(page)) < before + 700, "elements don't grow with the list");
  });
});

test("dragging through the list asks only for the pages that are looked at", async () => {
  const asked = new Set();
  await open(async (page) => {
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    page.on("request", (request) => request.url().includes("/list?") && asked.add(new URL(request.url()).searchParams.get("page")));
    await page.locator("#scroller").evaluate(async (scroller) => {
      for (let step = 1; step <= 50; step += 1) {
        scroller.scrollTop = (scroller.scrollHeight * step) / 50;
        await new Promise(requestAnimationFrame);
      }
    });
    await lastCard(page).waitFor();
    assert.ok(asked.size <= 5, `of 100 pages ${[...asked]} were asked for`);
  });
});

test("End focuses the last model and Home the first", async () => {
  await open(async (page) => {
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    await page.locator(".card[tabindex='0']").focus();
    await page.keyboard.press("End");
    await lastCard(page).waitFor();
    assert.equal(await focusedName(page), `model ${COUNT}`);
    await page.keyboard.press("Home");
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    assert.equal(await focusedName(page), "model 1");
  });
});

test("a screen reader is told how many rows there are and which one it is on", async () => {
  await open(async (page) => {
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    const grid = page.getByRole("grid");
    const columns = Number(await grid.getAttribute("aria-colcount"));
    const rows = Math.ceil(COUNT / columns);
    assert.equal(Number(await grid.getAttribute("aria-rowcount")), rows);
    await page.locator(".card[tabindex='0']").focus();
    await page.keyboard.press("End");
    await lastCard(page).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.closest("[role=row]").getAttribute("aria-rowindex")), String(rows));
  });
});

test("the focused card survives being scrolled away", async () => {
  await open(async (page) => {
    await page.locator(".card__name", { hasText: /^model 1$/ }).waitFor();
    await page.locator(".card[tabindex='0']").focus();
    await page.locator("#scroller").evaluate((scroller) => {
      scroller.scrollTop = 50_000;
    });
    await page.waitForFunction(() => [...document.querySelectorAll(".grid__row:not([hidden])")].some((row) => Number(row.getAttribute("aria-rowindex")) > 50));
    assert.equal(await focusedName(page), "model 1");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focusedName(page), "model 2");
    assert.ok((await page.locator("#scroller").evaluate((scroller) => scroller.scrollTop)) < 1000);
  });
});

test("a list that is higher than a browser can scroll still reaches its first and its last pixel", async () => {
  await open(async (page) => {
    const result = await page.evaluate(async () => {
      const main = document.querySelector("script[type=module]").src;
      const { ScrollScale } = await import(new URL("grid/scroll-scale.js", main));
      const height = 60_000_000;
      const viewport = 800;
      const scale = new ScrollScale();
      scale.resize(height, viewport);
      const last = scale.range - viewport;

      scale.scrolled(last);
      const atEnd = scale.top;
      scale.scrolled(0);
      const atStart = scale.top;

      scale.scrolled(last / 2);
      const middle = scale.top;
      // Reading on with the wheel moves as many pixels as it says, and resting moves nothing that is seen.
      let physical = last / 2;
      for (let step = 0; step < 100; step += 1) scale.scrolled((physical += 100));
      const read = scale.top - middle;
      scale.anchored(scale.rest());
      const rested = scale.top - middle;

      let worst = 0;
      for (let top = 0; top <= height - viewport; top += 997_001) {
        scale.anchored(scale.moveTo(top));
        worst = Math.max(worst, Math.abs(scale.top - top));
      }
      return { atEnd, atStart, read, rested, worst, range: scale.range, end: height - viewport };
    });
    assert.equal(result.atEnd, result.end);
    assert.equal(result.atStart, 0);
    assert.equal(result.read, 10_000);
    assert.equal(result.rested, 10_000);
    assert.equal(result.worst, 0);
    assert.ok(result.range <= 10_000_000, "below the limit of every browser, also on a screen with three pixels for one");
  });
});
