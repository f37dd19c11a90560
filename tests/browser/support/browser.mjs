import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// What each page has asked for and not got, and when that changed last.
const traffic = new WeakMap();

function watchTraffic(page) {
  const own = { open: new Set(), changed: Date.now() };
  const note = (act) => (request) => {
    own.open[act](request);
    own.changed = Date.now();
  };
  page.on("request", note("add"));
  page.on("requestfinished", note("delete"));
  page.on("requestfailed", note("delete"));
  traffic.set(page, own);
}

/**
 * Waits until the page asked for nothing for a while. What it asks of a file that gets another name meanwhile is answered with 404,
 * and a person needs longer for the next key.
 */
export async function quiet(page) {
  const own = traffic.get(page);
  const until = Date.now() + 10_000;
  while (own.open.size || Date.now() - own.changed < 300) {
    assert.ok(Date.now() < until, `still asked for: ${[...own.open].map((request) => request.url()).join(" ")}`);
    await page.waitForTimeout(50);
  }
}

/** Playwright makes a new, empty profile folder for each launch. */
export function startBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: ARGUMENTS });
}

/**
 * Opens `address` in a fresh browser context and runs `check(page)`. Whatever the browser complained about (a script
 * that failed, a policy that was broken, a request refused) fails the test; `expected` lists what may be said.
 */
export async function withPage(browser, address, check, { expected = [], before, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  watchTraffic(page);
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(error.stack ?? error.message));
  try {
    await before?.(page);
    await page.goto(address);
    await check(page);
    assert.deepEqual(complaints.filter((text) => !expected.some((pattern) => pattern.test(text))), [], "the browser complained");
  } finally {
    await context.close();
  }
}

/** The names on the cards, in the order of the list. */
export function names(page) {
  return page.locator(".cell:visible .card__name").allTextContents();
}

/** Waits until the cards that are seen have exactly these names. */
export async function expectNames(page, wanted) {
  const joined = wanted.join("\n");
  try {
    await page.waitForFunction((text) => {
      const cards = [...document.querySelectorAll(".cell")].filter((cell) => cell.checkVisibility());
      return cards.map((cell) => cell.querySelector(".card__name").textContent).join("\n") === text;
    }, joined, { timeout: 5000 });
  } catch {
    assert.equal((await names(page)).join("\n"), joined);
  }
}

/** Opens the card with this name. */
export async function openCard(page, name) {
  await page.locator(".card", { has: page.locator(".card__name", { hasText: new RegExp(`^${name}$`) }) }).click();
  await page.locator("#details-name", { hasText: name }).waitFor();
}

export function focusedName(page) {
  return page.evaluate(() => document.activeElement.querySelector(".card__name")?.textContent ?? null);
}
