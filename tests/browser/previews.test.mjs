import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { openCard } from "./support/browser.mjs";
import { png, writeModel } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const library = shelf({
  loras: async (root) => {
    const preview = async (name, bytes, extension = "png") => {
      const file = path.join(root, `${name}.${extension}`);
      await writeFile(file, bytes);
      await writeModel(root, `${name}.safetensors`, { sidecar: { model_name: name, preview_url: file } });
    };
    await preview("Amber", png([220, 150, 60], 900, 1200));
    await preview("Broad", png([60, 150, 60], 1800, 600));
    await preview("Cut", Buffer.from("<svg/>"));
    // No video that plays: the tests are about what is asked for.
    const video = Buffer.from("000000106674797069736f6d00000000", "hex");
    await preview("Film", video, "mp4");
    await writeFile(path.join(root, "Poster.preview.png"), png([60, 60, 150], 900, 1200));
    await preview("Poster", video, "preview.mp4");
    return 5;
  },
});

const image = (page, name) => page.locator(".cell", { has: page.locator(".card__name", { hasText: name }) }).locator("img.media");
const refused = { expected: [/status of 415/] };

/** Runs `check` with the widths in which the page asked for pictures. */
async function asked(options, check) {
  const widths = [];
  await library.open("/loras", (page) => check(page, widths), {
    ...refused,
    ...options,
    before: (page) => page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.pathname.includes("/media/") && request.resourceType() === "image") widths.push(Number(url.searchParams.get("w")));
    }),
  });
}

for (const [deviceScaleFactor, least] of [[1, 160], [3, 480]]) {
  test(`the list loads previews in the width that a screen of density ${deviceScaleFactor} needs`, async () => {
    await asked({ deviceScaleFactor }, async (page, widths) => {
      await image(page, "Amber").waitFor();
      // The browser chooses among the widths a moment after the card is there.
      await page.waitForFunction(() => [...document.querySelectorAll("img.media")].every((own) => own.currentSrc));
      const { used, shown } = await image(page, "Amber").evaluate((own) => ({ used: Number(new URL(own.currentSrc).searchParams.get("w")), shown: own.getBoundingClientRect().width }));
      assert.ok(used >= shown * deviceScaleFactor && used >= least, `${used} for ${shown}`);
      assert.ok(used < shown * deviceScaleFactor * 2, `${used} for ${shown}`);
      assert.ok(!widths.includes(0), `originals were asked for: ${widths}`);
    });
  });
}

test("a picture that is wider than its card is sharp, too", async () => {
  await asked({}, async (page) => {
    await image(page, "Broad").waitFor();
    await page.waitForFunction(() => {
      const own = [...document.querySelectorAll("img.media")].find((each) => each.sizes !== document.querySelector("img.media").sizes);
      return own?.currentSrc && Number(new URL(own.currentSrc).searchParams.get("w")) >= own.getBoundingClientRect().height * 3;
    });
  });
});

test("the details show a preview larger than the list does", async () => {
  await asked({}, async (page) => {
    await openCard(page, "Amber");
    const large = page.locator("img.picture__media");
    await large.waitFor();
    await page.waitForFunction(() => document.querySelector("img.picture__media").naturalWidth > 0);
    assert.ok(Number(new URL(await large.evaluate((own) => own.currentSrc)).searchParams.get("w")) >= 640);
  });
});

test("a preview that can't be shown says so on its card and why in the details", async () => {
  await asked({}, async (page) => {
    const note = page.locator(".cell .placeholder__note");
    await note.waitFor();
    assert.equal(await note.textContent(), "This preview can’t be shown");
    await page.waitForFunction(() => document.querySelector(".cell .placeholder__note").title.includes("Cut.png"));
    await openCard(page, "Cut");
    await page.locator("#details .placeholder__note", { hasText: "no JPEG, PNG, WebP or GIF" }).waitFor();
  });
});

test("a video with a picture beside it is fetched when it plays, one without at once", async () => {
  const videos = [];
  await library.open("/loras", async (page) => {
    const cell = (name) => page.locator(".cell", { has: page.locator(".card__name", { hasText: name }) });
    await page.waitForFunction(() => [...document.querySelectorAll("video.media")].some((video) => video.poster.includes("poster=true")));
    // A film that can't be played gives way to the placeholder.
    await cell("Film").locator(".placeholder").waitFor();
    assert.equal(videos.length, 1);
    await cell("Poster").hover();
    await page.waitForFunction(() => document.querySelector(".placeholder") && document.querySelectorAll("video.media").length === 0);
    assert.equal(new Set(videos).size, 2);
  }, {
    ...refused,
    before: (page) => page.on("request", (request) => {
      if (request.resourceType() === "media") videos.push(request.url());
    }),
  });
});
