import assert from "node:assert/strict";
import { test } from "node:test";
import { openCard } from "./support/browser.mjs";
import { writeSmallLibrary } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const library = shelf({ loras: writeSmallLibrary });

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, deviceScaleFactor: 3 };

/** How light the page's background is, from 0 to 255. */
async function lightness(page) {
  const shot = await page.screenshot({ clip: { x: 700, y: 795, width: 1, height: 1 } });
  return page.evaluate(async (data) => {
    const image = await createImageBitmap(new Blob([new Uint8Array(data)], { type: "image/png" }));
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.drawImage(image, 0, 0);
    return Math.max(...context.getImageData(0, 0, 1, 1).data.slice(0, 3));
  }, [...shot]);
}

test("the theme follows the system", async () => {
  await library.open("/loras?q=knight", async (page) => {
    assert.ok((await lightness(page)) < 60);
    await page.emulateMedia({ colorScheme: "light" });
    assert.ok((await lightness(page)) > 200);
  }, { colorScheme: "dark" });
});

test("a chosen theme outweighs the system's and is remembered before the first paint", async () => {
  await library.open("/loras?q=knight", async (page) => {
    await page.locator("#theme-menu").click();
    await page.getByRole("menuitemradio", { name: "Dark" }).click();
    assert.ok((await lightness(page)) < 60);
    await page.reload({ waitUntil: "commit" });
    await page.waitForFunction(() => document.body);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  }, { colorScheme: "light" });
});

test("on a screen 360 pixels wide nothing reaches over the edge", async () => {
  await library.open("/loras?base=SDXL+1.0&tag=tree", async (page) => {
    await page.locator("#count", { hasText: "6" }).waitFor();
    const width = () => page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(await width(), 360);
    await openCard(page, "Birch");
    assert.equal(await width(), 360);
    assert.ok(await page.locator("#details").evaluate((dialog) => dialog.scrollWidth <= 360));
  }, PHONE);
});

test("on a small screen the filters open over the list and leave with Escape", async () => {
  await library.open("/loras", async (page) => {
    assert.equal(await page.locator("#filters").isVisible(), false);
    await page.locator("#filters-toggle").click();
    await page.locator(".choice[data-value=Pony] .choice__main").click();
    assert.ok(await page.locator("#main").evaluate((main) => main.inert), "what lies below can't be reached");
    await page.keyboard.press("Escape");
    await page.locator("#filters").waitFor({ state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.id), "filters-toggle");
    await page.locator("#count", { hasText: "2" }).waitFor();
  }, PHONE);
});

test("the card size can be chosen and is remembered", async () => {
  await library.open("/loras", async (page) => {
    const columns = () => page.locator("#grid").getAttribute("aria-colcount").then(Number);
    await page.locator("#count", { hasText: "12" }).waitFor();
    const medium = await columns();
    await page.locator("#display-menu").click();
    await page.getByRole("menuitemradio", { name: "Small" }).click();
    const small = await columns();
    assert.ok(small > medium);
    await page.reload();
    await page.locator("#count", { hasText: "12" }).waitFor();
    assert.equal(await columns(), small);
  });
});

for (const [reducedMotion, plays] of [["no-preference", true], ["reduce", false]]) {
  test(plays ? "a video preview plays while it is pointed at and rests otherwise" : "a video preview stays still for somebody who wants less motion", async () => {
    await library.open("/loras", async (page) => {
      await page.locator("video.media").first().waitFor({ state: "attached" });
      assert.deepEqual(await page.evaluate(() => window.asked), []);
      await page.locator(".cell:has(video)").first().hover();
      await page.mouse.move(2, 2);
      const asked = await page.evaluate(() => window.asked);
      assert.deepEqual(asked.filter((call) => call === "play"), plays ? ["play"] : []);
      assert.equal(asked.at(-1), "pause");
    }, {
      reducedMotion,
      before: async (page) => {
        await page.addInitScript(() => {
          window.asked = [];
          HTMLMediaElement.prototype.play = () => Promise.resolve(window.asked.push("play"));
          HTMLMediaElement.prototype.pause = () => window.asked.push("pause");
        });
        await page.route(/\/list\?/, async (route) => {
          const answer = await (await route.fetch()).json();
          answer.items[0].media_type = "video";
          answer.items[0].media_url = "/media/never.webm";
          await route.fulfill({ json: answer });
        });
        // Never answered: the test is about what the page asks of the video, not about a codec.
        await page.route(/never\.webm/, () => {});
      },
    });
  });
}
