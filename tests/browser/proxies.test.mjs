// The samples of docs/deploy.md, run: pages, previews and WebSockets through Caddy, and through nginx with a path prefix.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { test } from "node:test";
import { startBrowser } from "./support/browser.mjs";
import { startHost } from "./support/host.mjs";
import { temporaryFolder, writeModel } from "./support/library.mjs";

const TOKEN = "a-token-for-the-proxies-of-this-test-alone";
const DOCS = new URL("../../docs/deploy.md", import.meta.url);

const find = (name) => [`/usr/sbin/${name}`, `/usr/bin/${name}`, `/usr/local/bin/${name}`].find((file) => existsSync(file));

/** The sample in this language, with texts replaced; each must be there. */
async function sample(language, replacements) {
  let text = new RegExp("```" + language + "\n([^]*?)```").exec(await readFile(DOCS, "utf8"))[1];
  for (const [was, is] of replacements) {
    assert.ok(text.includes(was), `${was} is not in the sample of ${language}`);
    text = text.replaceAll(was, is);
  }
  return text;
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function listens(port, child, log) {
  const until = Date.now() + 60_000;
  for (;;) {
    assert.equal(child.exitCode, null, log());
    const socket = net.connect(port, "127.0.0.1");
    const open = await new Promise((resolve) => socket.on("connect", () => resolve(true)).on("error", () => resolve(false)));
    socket.destroy();
    if (open) return;
    assert.ok(Date.now() < until, `nothing listens\n${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs a server with these settings and a proxy before it, and opens the page of loras through it. */
async function through({ settings, prefix, command }) {
  const host = await startHost({
    loras: async (root) => {
      await writeModel(root, "amber.safetensors", { color: [10, 200, 10] });
      return 1;
    },
  }, {
    headers: { Authorization: `Bearer ${TOKEN}` },
    prepare: async (folder) => {
      const file = path.join(folder, "settings.toml");
      await writeFile(file, `[server]\ntoken = "${TOKEN}"\n${settings}`);
      return ["--config", file];
    },
  });
  const { folder, remove } = await temporaryFolder();
  const port = await freePort();
  const { program, args, env } = await command(folder, port, new URL(host.url).host);
  let log = "";
  const proxy = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  for (const stream of [proxy.stdout, proxy.stderr]) stream.on("data", (data) => { log += data; });
  const browser = await startBrowser();
  try {
    await listens(port, proxy, () => log);
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    const [failed, sockets] = [[], []];
    page.on("response", (answer) => { if (answer.status() >= 400) failed.push(`${answer.status()} ${answer.url()}`); });
    page.on("websocket", (socket) => sockets.push(socket));
    const origin = `https://localhost:${port}`;
    await page.goto(`${origin}${prefix}/`);
    await page.locator(".card").first().waitFor();
    assert.equal(page.url(), `${origin}${prefix}/loras`, "the first type's page");
    await page.waitForFunction(() => document.querySelector("img.media")?.naturalWidth > 0);
    assert.ok(sockets.length > 0, "the page opens a WebSocket");
    for (const socket of sockets) assert.ok(socket.url().startsWith(`wss://localhost:${port}${prefix}/ws/`), socket.url());
    // A change arrives over the socket: the page shows it without being loaded again.
    await writeModel(host.folders.loras, "cobalt.safetensors", { color: [10, 10, 200] });
    const scanned = await page.evaluate(async (address) => (await fetch(address)).status, `${prefix}/api/lm/loras/scan`);
    assert.equal(scanned, 200);
    await page.locator(".card", { hasText: "cobalt" }).waitFor();
    await page.goto(`${origin}${prefix}/plugins`);
    await page.locator(".types__link", { hasText: "LoRAs" }).click();
    await page.locator(".card").first().waitFor();
    assert.deepEqual(failed, []);
  } finally {
    await browser.close();
    if (proxy.exitCode === null && proxy.signalCode === null) {
      const ended = once(proxy, "exit");
      proxy.kill("SIGTERM");
      await ended;
    }
    await remove();
    await host.stop();
  }
}

for (const strips of [false, true]) {
  test(`nginx serves the library below a path, which it ${strips ? "takes off" : "passes on"}`, { skip: !find("nginx") && "nginx is not installed" }, () => through({
    settings: 'base_path = "/models"\n',
    prefix: "/models",
    command: async (folder, port, host) => {
      const [certificate, key] = ["fullchain.pem", "privkey.pem"].map((name) => path.join(folder, name));
      execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate], { stdio: "ignore" });
      const server = await sample("nginx", [
        ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`],
        ["models.example.com", "localhost"],
        ["/etc/modelshelf/fullchain.pem", certificate],
        ["/etc/modelshelf/privkey.pem", key],
        ["http://127.0.0.1:8188;", `http://${host}${strips ? "/" : ""};`],
        // A proxy with a login of its own may send a token of the server's.
        ["proxy_http_version 1.1;", `proxy_http_version 1.1; proxy_set_header Authorization "Bearer ${TOKEN}";`],
      ]);
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`);
      const file = path.join(folder, "nginx.conf");
      await writeFile(file, `daemon off;\nmaster_process off;\npid ${folder}/nginx.pid;\nerror_log stderr warn;\nevents {}\n`
        + `http {\naccess_log off;\n${temporary.join("\n")}\n${server}}\n`);
      return { program: find("nginx"), args: ["-p", folder, "-c", file] };
    },
  }));
}

test("Caddy serves the library", { skip: !find("caddy") && "caddy is not installed" }, () => through({
  settings: "",
  prefix: "",
  command: async (folder, port, host) => {
    const site = await sample("caddy", [
      ["models.example.com {", `localhost:${port} {\n    bind 127.0.0.1\n    tls internal`],
      ["reverse_proxy 127.0.0.1:8188", `reverse_proxy ${host} {\n        header_up Authorization "Bearer ${TOKEN}"\n    }`],
    ]);
    const file = path.join(folder, "Caddyfile");
    await writeFile(file, `{\n    admin off\n    skip_install_trust\n    auto_https disable_redirects\n}\n${site}`);
    await mkdir(path.join(folder, "data"), { recursive: true });
    return {
      program: find("caddy"),
      args: ["run", "--config", file, "--adapter", "caddyfile"],
      env: { HOME: folder, XDG_DATA_HOME: path.join(folder, "data"), XDG_CONFIG_HOME: path.join(folder, "config") },
    };
  },
}));
