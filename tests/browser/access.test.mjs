import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { writeModel } from "./support/library.mjs";
import { shelf } from "./support/page.mjs";

const library = shelf({
  loras: async (root) => {
    await writeModel(root, "amber.safetensors", { color: [200, 120, 20] });
    return 1;
  },
});

const PASSWORD = "correct horse";
// The browser itself writes a line for each answer that is no success.
const refused = [/status of 40[13]/];
const listStatus = (token) => fetch(`${library.url}/api/lm/loras/list`, { headers: token ? { Authorization: `Bearer ${token}` } : {} }).then(({ status }) => status);
let token = "";

async function noOverflow(page) {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the window");
}

// One story: each test begins where the one before ended.
test("the library menu leads to access, where a token is made, shown once and copied", async () => {
  await library.open("/loras", async (page) => {
    await page.locator("#library-menu").click();
    await page.getByRole("menuitem", { name: "Access and tokens" }).click();
    await page.waitForURL("**/access");
    await page.getByText("No login is needed on this machine").waitFor();
    await page.locator("#token-name").fill("phone");
    await page.locator("[name=scope][value=download]").check();
    await page.getByRole("button", { name: "New token" }).click();
    token = await page.locator(".access__secret code").textContent();
    assert.match(token, /^msk_/);
    await page.locator("#tokens").getByText("phone").waitFor();
    assert.match(await page.locator("#tokens .access__facts").textContent(), /read, download/);
    assert.deepEqual(await violations(page), []);
    await page.reload();
    await page.locator("#tokens").getByText("phone").waitFor();
    assert.equal(await page.locator(".access__secret").count(), 0);
  });
});

test("whoever sets a password stays logged in, and everybody else is asked for it", async () => {
  await library.open("/access", async (page) => {
    await page.locator("#password").fill(PASSWORD);
    await page.getByRole("button", { name: "Set password" }).click();
    await page.getByText("Every request needs a login or a token").waitFor();
    await page.locator("#sessions").getByText("This session").waitFor();
    await page.goto(`${library.url}/loras`);
    await page.locator(".card").first().waitFor();
  });
  assert.equal(await listStatus(), 401);
  assert.equal(await listStatus(token), 200);
});

test("a visitor logs in and comes back to the page that was wanted", async () => {
  await library.open("/loras?q=amb", async (page) => {
    await page.waitForURL("**/login?next=**");
    assert.deepEqual(await violations(page), []);
    const field = page.getByLabel("Password or token");
    await field.fill("wrong horse");
    await field.press("Enter");
    await page.getByText("The password or token is wrong").waitFor();
    assert.deepEqual(await violations(page), []);
    await field.fill(PASSWORD);
    await field.press("Enter");
    await page.waitForURL("**/loras?q=amb");
    await page.locator(".card").first().waitFor();
    const cookies = await page.context().cookies();
    assert.ok(cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict") && cookies.length === 1);
  }, { expected: refused });
});

test("sessions and failed logins are shown, another session is ended, and that one is led to the login", async () => {
  await library.open("/login", async (page) => {
    await page.getByLabel("Password or token").fill(PASSWORD);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.waitForURL("**/loras");
    const other = await page.context().browser().newContext();
    const second = await other.newPage();
    await second.goto(`${library.url}/login`);
    await second.getByLabel("Password or token").fill(PASSWORD);
    await second.keyboard.press("Enter");
    await second.waitForURL("**/loras");
    await second.locator(".card").first().waitFor();

    await page.goto(`${library.url}/access`);
    await page.locator("#failures").getByText("127.0.0.1").waitFor();
    const revokes = page.locator("#sessions .button");
    while (await revokes.count()) {
      const before = await revokes.count();
      await revokes.first().click();
      await page.waitForFunction((n) => document.querySelectorAll("#sessions .button").length < n, before);
    }
    await second.waitForURL("**/login?next=**");
    await other.close();
    assert.deepEqual(await violations(page), []);

    await page.setViewportSize({ width: 390, height: 800 });
    await noOverflow(page);
    assert.deepEqual(await violations(page), []);
    await page.locator("#tokens").getByRole("button", { name: "Revoke phone" }).click();
    await page.getByText("No tokens").waitFor();
    assert.equal(await listStatus(token), 401);
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL("**/login");
    await noOverflow(page);
    assert.deepEqual(await violations(page), []);
    await page.goto(`${library.url}/loras`);
    await page.waitForURL("**/login?next=**");
  }, { expected: refused });
});

test("in German and in the dark both pages read well", async () => {
  const options = { locale: "de-DE", colorScheme: "dark" };
  await library.open("/access", async (page) => {
    await page.getByLabel("Passwort oder Token").fill(PASSWORD);
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Anmelden" }).click();
    await page.waitForURL("**/access");
    await page.getByRole("heading", { name: "Zugang" }).waitFor();
    await page.getByText("Diese Sitzung").waitFor();
    assert.deepEqual(await violations(page), []);
  }, options);
});
