// The page of access: the password, tokens for programs, sessions, and logins that failed.

import { Api } from "../api.js";
import { at } from "../base-path.js";
import { copyButton } from "../controls/copy-button.js";
import { byId, h } from "../dom.js";
import { reasonOf } from "../reason.js";
import { moment, t, tn } from "../texts.js";
import { mountTheme } from "../theme.js";
import { toast } from "../toast.js";

const api = new Api("", "/api/");

mountTheme();

const when = (seconds) => (seconds ? moment(new Date(seconds * 1000)) : t("access.never"));

/** Does something, says what came of it, and shows how things are then. */
async function act(run, done) {
  try {
    await run();
    if (done) toast(done);
    await refresh();
    return true;
  } catch (error) {
    toast(reasonOf(error), { bad: true });
    return false;
  }
}

function row(title, facts, button = null) {
  return h("li", { class: "access__row" },
    h("div", { class: "access__what" }, h("p", { class: "access__name" }, title), h("p", { class: "access__facts" }, facts)),
    button);
}

function endButton(label, name, run) {
  return h("button", { class: "button access__line", type: "button", "aria-label": t("access.revokeNamed", { name }), onclick: run }, label);
}

function fill(id, rows, empty) {
  byId(id).replaceChildren(...(rows.length ? rows : [h("li", { class: "access__empty" }, empty)]));
}

function tokenRow(token) {
  const scopes = token.scopes.map((scope) => t(`access.scopeName.${scope}`)).join(", ");
  const facts = t("access.tokenFacts", { scopes, created: when(token.created), used: when(token.last_used) });
  const revoke = () => act(() => api.post(`access/tokens/${token.id}/revoke`), t("access.revoked", { name: token.name }));
  return row(token.name, facts, endButton(t("access.revoke"), token.name, revoke));
}

function sessionRow(session) {
  const facts = t("access.sessionFacts", { created: when(session.created), used: when(session.last_used) });
  const name = session.is_own ? t("access.thisSession") : browserName(session.client);
  if (session.is_own) return row(name, facts);
  const end = () => act(() => api.post(`access/sessions/${session.id}/revoke`), t("access.sessionEnded"));
  return row(name, facts, endButton(t("access.revoke"), name, end));
}

/** A User-Agent as a person knows it; the whole text where it is no browser's. */
function browserName(agent) {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/[\d.]+/.exec(agent.replace(/Chrome\/\S+ Safari\/\S+ (?=Edg|OPR)/, ""))?.[1];
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1];
  const names = { Edg: "Edge", OPR: "Opera" };
  return browser && system ? `${names[browser] ?? browser}, ${system}` : agent || t("access.unknownClient");
}

function failureRow(failure) {
  return row(failure.address, tn("access.failureFacts", failure.count, { kind: t(`access.kind.${failure.kind}`), at: when(failure.at) }));
}

function show(state) {
  byId("access-lead").textContent = t(state.login_required ? "access.leadRequired" : "access.leadOpen");
  byId("current-field").hidden = !state.password_set;
  byId("current").required = state.password_set;
  byId("password").minLength = state.min_password;
  byId("log-out").hidden = state.identity.kind !== "session";
  fill("tokens", state.tokens.map(tokenRow), t("access.noTokens"));
  fill("sessions", state.sessions.map(sessionRow), t("access.noSessions"));
  fill("failures", state.failures.map(failureRow), t("access.noFailures"));
}

async function refresh() {
  const failed = byId("access-error");
  try {
    show(await api.get("access"));
    failed.hidden = true;
  } catch (error) {
    failed.textContent = reasonOf(error);
    failed.hidden = false;
  }
}

byId("password-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const done = await act(() => api.post("access/password", { password: byId("password").value, current: byId("current").value }), t("access.passwordSet"));
  if (done) event.target.reset();
});

byId("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const name = byId("token-name").value;
  const scopes = [...form.querySelectorAll("[name=scope]:checked")].map((box) => box.value);
  let token = "";
  const done = await act(async () => {
    ({ token } = await api.post("access/tokens", { name, scopes }));
  });
  if (!done) return;
  form.reset();
  byId("new-token").replaceChildren(
    h("p", {}, t("access.tokenOnce", { name })),
    h("div", { class: "access__secret" }, h("code", { tabindex: "0", "aria-label": t("access.newTokenLabel", { name }) }, token), copyButton(token, t("access.copyToken"))));
});

byId("log-out").addEventListener("click", async () => {
  if (await act(() => api.post("access/logout"))) location.assign(at("/login"));
});

refresh();
