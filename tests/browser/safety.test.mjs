import assert from "node:assert/strict";
import { test } from "node:test";
import { writeModel } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const NAME = `<img src=x onerror="window.ran='name'">"><script>window.ran='name'</script>`;
const TAG = `<svg onload="window.ran='tag'">`;
const WORD = `</button><iframe srcdoc="<script>parent.ran='word'</script>">`;
const DESCRIPTION = `<h1 id="bootstrap" onclick="window.ran='click'">Read me</h1><script>window.ran='description'</script><img src=x onerror="window.ran='image'">`
  + `<a href="javascript:window.ran='link'">go</a><a href="https://example.com/">out</a><form action="/api/lm/loras/scan"><button>send</button></form><style>body{display:none}</style>`;

const library = shelf({
  loras: async (root) => {
    await writeModel(root, `<b>folder/it's "so" <i>odd</i> & 100%25 #1.safetensors`.replace("</i>", "<-i>"), {
      color: [10, 200, 10],
      sidecar: {
        model_name: NAME,
        base_model: "<u>base</u>",
        tags: [TAG],
        notes: NAME,
        modelDescription: DESCRIPTION,
        hf_url: "javascript:window.ran='hf'",
        civitai: { id: 1, modelId: 2, name: NAME, trainedWords: [WORD], creator: { username: NAME } },
      },
    });
    return 1;
  },
});

test("what a file, a sidecar or a provider says is shown as text and never run", async () => {
  await library.open("/loras", async (page) => {
    await page.locator(".card").first().waitFor();
    assert.equal(await page.locator(".card__name").first().textContent(), NAME);
    assert.ok(await page.locator("img.media").first().evaluate((image) => image.naturalWidth > 0), "an odd path still has its preview");
    await page.locator(".card").first().click();
    await page.locator(".prose").waitFor();

    assert.equal(await page.locator("#details-name").textContent(), NAME);
    assert.equal(await page.locator("#details .word").textContent(), WORD);
    assert.equal((await page.locator("#details .tag").textContent()).toLowerCase(), TAG.toLowerCase());
    assert.equal(await page.locator(".prose h4").textContent(), "Read me");
    await page.locator(".prose h4").click();
    for (const link of await page.locator("#details a").all()) assert.match((await link.getAttribute("href")) ?? "https:", /^https:/);
    assert.equal(await page.locator(".prose :is(script, img, style, form, iframe, [id], [onclick])").count(), 0);
    assert.equal(await page.evaluate(() => window.ran), undefined);
  });
});

test("a hostile address changes nothing but the filters it names", async () => {
  const query = `?q=${encodeURIComponent(`${NAME}!`)}&tag=${encodeURIComponent(TAG)}&sort=__proto__&view=constructor&order=up`;
  await library.open(`/loras${query}`, async (page) => {
    await page.getByText("Nothing matches").waitFor();
    assert.equal(await page.locator(".chip__text").first().textContent(), `#${TAG}`);
    assert.equal(await page.evaluate(() => window.ran), undefined);
  });
});

test("the page runs under a policy that allows no inline script, no inline style and no other host", async () => {
  const answer = await fetch(`${library.url}/loras`);
  const policy = answer.headers.get("content-security-policy");
  const sources = Object.fromEntries(policy.split(";").map((part) => part.trim().split(/\s+(.*)/)).map(([name, value]) => [name, value]));
  assert.equal(sources["default-src"], "'none'");
  assert.equal(sources["script-src"], "'self'");
  assert.equal(sources["style-src"], "'self'");
  assert.equal(sources["frame-ancestors"], "'none'");
  const html = await answer.text();
  assert.doesNotMatch(html, /\sstyle=|\son[a-z]+=/i);
  const addresses = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
  assert.ok(addresses.length > 10);
  assert.deepEqual(addresses.filter((address) => /^[a-z]+:|^\/\//i.test(address)), []);
});
