// Starts the real server with a library of its own, and ends it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "./library.mjs";

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const BINARY = path.resolve(process.env.MODELSHELF_HOST_BIN ?? path.join(HERE, "../../../target/debug/host"));
const STARTS_WITHIN = 60_000;
const READS_WITHIN = 180_000;
const ENDS_WITHIN = 10_000;

/**
 * Starts a server whose `roots` are `{name: fill}`; each `fill(folder)` writes models and returns their number. Waits
 * until all of them are listed, by the type whose prefix is the root's name. `prepare(folder)` may write other files
 * and gives further arguments; `expected` says how many models of each type come from those. `headers` are sent to ask for that.
 */
export async function startHost(roots, { prepare = async () => [], expected = {}, headers = {} } = {}) {
  const { folder, remove } = await temporaryFolder();
  const args = ["--bind", "127.0.0.1:0", "--data-dir", path.join(folder, "data")];
  const folders = {};
  expected = { ...expected };
  for (const [name, fill] of Object.entries(roots)) {
    folders[name] = path.join(folder, name);
    await mkdir(folders[name], { recursive: true });
    expected[name] = await fill(folders[name]);
    args.push("--root", `${name}=${folders[name]}`);
  }
  args.push(...(await prepare(folder)));

  const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (data) => {
    log = (log + data).slice(-20_000);
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), ENDS_WITHIN);
      await ended;
      clearTimeout(timer);
    }
    await remove();
  };

  try {
    const url = await listening(child, () => log);
    for (const [prefix, count] of Object.entries(expected)) await listed(url, prefix, count, headers);
    return { url, folders, stop, log: () => log };
  } catch (error) {
    await stop();
    throw error;
  }
}

function listening(child, log) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${BINARY} ${why}\n${log()}`));
    const timer = setTimeout(() => fail("did not say that it listens"), STARTS_WITHIN);
    child.on("error", (error) => fail(error.message));
    child.on("exit", (code) => fail(`ended with ${code}`));
    let out = "";
    child.stdout.on("data", (data) => {
      out += data;
      const line = /^listening on (http:\S+)/m.exec(out);
      if (!line) return;
      clearTimeout(timer);
      resolve(line[1].replace(/\/$/, ""));
    });
  });
}

async function listed(url, prefix, count, headers) {
  const until = Date.now() + READS_WITHIN;
  let last = null;
  while (Date.now() < until) {
    const answer = await fetch(`${url}/api/lm/${prefix}/status`, { headers });
    last = await answer.json();
    if (answer.ok && last.ready && !last.is_initializing && last.total >= count) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${prefix}: ${count} models were not listed in time: ${JSON.stringify(last)}`);
}
