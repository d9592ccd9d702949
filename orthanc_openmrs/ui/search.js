// What a person types, as the plugin is asked for it.
import { t, today } from "./texts.js";

/** The words, in which "today" and "yesterday" in the person's language are dates. */
export function asAsked(typed) {
  const dates = { [t("search.today").toLowerCase()]: today(), [t("search.yesterday").toLowerCase()]: today(-1) };
  return typed
    .split(/\s+/)
    .map((word) => dates[word.toLowerCase()] ?? word)
    .join(" ");
}
