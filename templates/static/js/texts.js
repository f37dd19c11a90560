import { bootstrap } from "./bootstrap.js";

const { texts } = bootstrap;

/** The page's language. */
export const { lang } = bootstrap;

const plural = new Intl.PluralRules(lang);
const numbers = new Intl.NumberFormat(lang);
const days = new Intl.DateTimeFormat(lang, { dateStyle: "medium" });
const moments = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The language in which the server describes what is wrong with a file; such texts are marked with it. */
export const SERVER_LANG = "en";

/** Whether there is a text `key`. */
export function has(key) {
  return key in texts;
}

/** The text `key`; a missing one shows its key, so that a gap in a locale is seen and not silent. */
export function t(key, values = {}) {
  return fill(texts[key] ?? key, values);
}

/** Picks `key.one`, `key.other` ... by the language's rules; `{n}` is the formatted number. */
export function tn(key, n, values = {}) {
  const form = texts[`${key}.${plural.select(n)}`] ?? texts[`${key}.other`] ?? key;
  return fill(form, { n: number(n), ...values });
}

export function number(n) {
  return numbers.format(n);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Decimal units, as operating systems and download pages count. */
export function bytes(n) {
  let step = 0;
  while (n >= 1000 && step < UNITS.length - 1) {
    n /= 1000;
    step += 1;
  }
  const digits = n < 10 && step > 0 ? 2 : n < 100 && step > 0 ? 1 : 0;
  return new Intl.NumberFormat(lang, { style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: digits }).format(n);
}

export function day(date) {
  return Number.isNaN(date.getTime()) ? "" : days.format(date);
}

export function moment(date) {
  return Number.isNaN(date.getTime()) ? "" : moments.format(date);
}

/** How long something still takes, in words; an estimate is worth no seconds. */
export function timeLeft(seconds) {
  if (seconds < 50) return t("activity.left.soon");
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? tn("activity.left.minutes", minutes) : tn("activity.left.hours", Math.round(minutes / 60));
}
