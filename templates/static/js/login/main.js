// The login page: by password, by a token with the scope admin, or by the one-time link of the terminal. It imports nothing but the
// bootstrap, since other files are served only after the login.

import { bootstrap } from "../bootstrap.js";

const { texts } = bootstrap;
const base = document.documentElement.dataset.basePath ?? "";
const form = document.getElementById("login");
const field = document.getElementById("secret");
const failed = document.getElementById("login-error");

/** The page that the visitor wanted; of this server alone. */
function target() {
  const next = new URLSearchParams(location.search).get("next") ?? `${base}/`;
  const url = URL.canParse(next, location.origin) ? new URL(next, location.origin) : null;
  const own = url?.origin === location.origin && url.pathname !== `${base}/login`;
  return own ? `${url.pathname}${url.search}${url.hash}` : `${base}/`;
}

function show(text) {
  failed.textContent = text;
  failed.hidden = !text;
  field.setAttribute("aria-invalid", String(Boolean(text)));
}

/** Tries to log in; gives the answer's status, 0 when none came. */
async function send(credential) {
  try {
    const response = await fetch(`${base}/api/access/login`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Modelshelf-Page": "1" },
      body: JSON.stringify(credential),
    });
    return { status: response.status, wait: response.headers.get("Retry-After") };
  } catch {
    return { status: 0, wait: null };
  }
}

async function logIn(credential, wrong) {
  const { status, wait } = await send(credential);
  if (status === 200) {
    location.replace(target());
    return;
  }
  if (status === 0) show(texts.noAnswer);
  else if (status === 429) show(texts.slow.replace("{seconds}", wait ?? "1"));
  else show(wrong);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const secret = field.value;
  const button = form.querySelector("button");
  show("");
  button.disabled = true;
  const isToken = secret.trim().startsWith("msk_") || !bootstrap.byPassword;
  await logIn(isToken ? { token: secret } : { password: secret }, texts.failed);
  button.disabled = false;
  if (!failed.hidden) field.select();
});

const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) {
  // Neither the history nor a bookmark keeps it.
  history.replaceState(null, "", location.pathname + location.search);
  logIn({ code }, texts.link);
} else {
  // A link from another site brings no cookie along; this page's own request does.
  fetch(`${base}/api/access/me`, { headers: { "X-Modelshelf-Page": "1" } })
    .then((response) => response.json())
    .then(({ identity }) => identity && location.replace(target()), () => {});
}
