import { t } from "./texts.js";

/** Why a request failed, in a sentence: what the server said, or that it said nothing. */
export function reasonOf(error) {
  return error.message || t("error.noAnswer");
}
