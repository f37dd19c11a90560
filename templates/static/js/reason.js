import { has, lang, t } from "./texts.js";

/**
 * Why a request, or the part of one that an answer's result is about, failed: a sentence in the page's language where the
 * server gave a code that the texts know, else what the server said, or that it said nothing.
 */
export function reasonOf(failure) {
  const { code, values = {}, status } = failure;
  if (code && has(`reason.${code}`)) return t(`reason.${code}`, values);
  const said = failure.error ?? failure.message;
  // The server speaks English.
  if (said && lang !== "en" && has(`reason.status.${status}`)) return t(`reason.status.${status}`);
  return said || t("error.noAnswer");
}
