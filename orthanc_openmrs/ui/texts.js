// The words of the page, in the language of the person.

const KEY = "orthanc-openmrs-language";
let texts = {};
let plural = new Intl.PluralRules("en");

export let language = "en";
let locale = "en"; // the language, of the country that the browser says
export let languages = {};

/** Reads the words, by `readFile`: of the language that was chosen, else of the browser's first
 * that there is. */
export async function loadTexts(readFile) {
  languages = await readFile("languages.json");
  const wanted = [stored(), ...navigator.languages.map((one) => one.split("-")[0])];
  language = wanted.find((one) => one in languages) ?? "en";
  const english = await readFile("texts.en.json");
  texts = language === "en" ? english : { ...english, ...(await readFile(`texts.${language}.json`)) };
  locale = navigator.languages.find((one) => one.split("-")[0] === language) ?? language;
  plural = new Intl.PluralRules(locale);
  document.documentElement.lang = language;
  const written = new Intl.Locale(language);
  document.documentElement.dir = (written.getTextInfo?.() ?? written.textInfo)?.direction ?? "ltr";
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
}

/** Another language; the page starts anew in it. */
export function choose(code) {
  try {
    localStorage.setItem(KEY, code);
  } catch {
    return; // as above: the browser's own language it is
  }
  location.reload();
}

/** The words for a key. Values stand for `{name}`; `n` chooses between `.one` and `.other`. */
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined && "n" in values) {
    text = texts[`${key}.${plural.select(values.n)}`] ?? texts[`${key}.other`];
  }
  return (text ?? key).replace(/{(\w+)}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? number(value) : value;
  });
}

/** Whether there are words for a key. */
export function has(key) {
  return key in texts;
}

/** A number as the language writes it. */
export function number(value) {
  return new Intl.NumberFormat(locale).format(value);
}

/** A time of the API (20250703T120000Z, UTC) in the zone of the browser, "" for never. */
export function moment(text) {
  const at = instant(text);
  return at
    ? new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(at)
    : "";
}

function instant(text) {
  const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? "");
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1).map(Number);
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

/** Seconds from now to a time of the API, 0 for never and for what is past. */
export function secondsUntil(text) {
  const at = instant(text);
  return at ? Math.max(0, Math.round((at - Date.now()) / 1000)) : 0;
}

/** A DICOM date (DA), with its month in letters; anything else as it stands. */
export function dicomDate(text) {
  const found = /^(\d{4})(\d\d)(\d\d)$/.exec(text ?? "");
  if (!found) return text ?? "";
  const [year, month, day] = found.slice(1).map(Number);
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(
    new Date(Date.UTC(year, month - 1, day)),
  );
}

/** The day (DA) so many days from today, where the browser is. */
export function today(days = 0) {
  const at = new Date();
  at.setDate(at.getDate() + days);
  return [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((one) => String(one).padStart(2, "0")).join("");
}

/** A DICOM time (TM) to the minute. */
export function dicomTime(text) {
  const found = /^(\d\d)(\d\d)/.exec(text ?? "");
  return found ? `${found[1]}:${found[2]}` : (text ?? "");
}

/** So many seconds in one unit, as in "4 s", "3 min", "2 h". */
export function duration(seconds) {
  const units = [
    [86400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "second"];
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(
    Math.floor(seconds / size),
  );
}

/** A person's name (PN) to read: "Family, Given Middle". */
export function personName(text) {
  const group = (text ?? "").split("=").find((one) => one.replaceAll("^", "").trim()) ?? "";
  const [family = "", given = "", middle = "", prefix = "", suffix = ""] = group.split("^");
  const first = [prefix, given, middle].filter(Boolean).join(" ");
  return [[family, first].filter(Boolean).join(", "), suffix].filter(Boolean).join(" ");
}

