// The plugin's REST API and, where it must be, Orthanc's own.
import { t } from "./texts.js";

const HERE = import.meta.url.replace(/(\/ui)+\/[^/]*$/, "/");
const TIMEOUT = 60_000;

/** The root of this Orthanc, below whatever prefix a reverse proxy gives it. */
export const ORTHANC = new URL("..", HERE);

/** An answer that isn't one: `status` 0 where Orthanc doesn't answer. */
export class ApiError extends Error {
  constructor(status, message, details = "") {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** A file of the page. */
export async function readFile(name) {
  const response = await fetch(new URL(`ui/${name}`, HERE));
  if (!response.ok) throw new ApiError(response.status, name);
  return response.json();
}

/** Asks a route below /openmrs; its JSON. Raises ApiError. */
export async function ask(path, options) {
  return (await exchange(new URL(path, HERE), options)).document;
}

/** Asks for a page of a list; {items, total}. Raises ApiError. */
export async function askPage(path, query) {
  const { document, headers } = await exchange(new URL(path, HERE), { query });
  return { items: document, total: Number(headers.get("X-Total-Count") ?? document.length) };
}

/** Asks a route of Orthanc itself; its JSON. Raises ApiError. */
export async function askOrthanc(path, options) {
  return (await exchange(new URL(path, ORTHANC), options)).document;
}

async function exchange(url, { method = "GET", body, query = {} } = {}) {
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  let response;
  let text;
  try {
    response = await fetch(url, {
      method,
      body: body === undefined ? (method === "GET" ? undefined : "") : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    text = await response.text();
  } catch {
    throw new ApiError(0, t("error.away"));
  }
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    document = null;
  }
  if (response.ok && document !== null) return { document, headers: response.headers };
  if (response.status === 401 || response.status === 403) {
    throw new ApiError(response.status, document?.Message ?? t("error.signin"));
  }
  throw new ApiError(
    response.status,
    document?.Message || t("error.status", { status: String(response.status) }),
    document?.Details ?? "",
  );
}

/** A whole list, page by page. */
export async function askAll(path, query = {}) {
  const found = [];
  for (;;) {
    const page = await ask(path, { query: { ...query, limit: 1000, since: found.length } });
    found.push(...page);
    if (page.length < 1000) return found;
  }
}

/** The address of a route below /openmrs. */
export function address(path) {
  return new URL(path, HERE).href;
}

/** The address of a path on Orthanc's host that the plugin gives, below the prefix that the
 * browser knows even where the proxy doesn't say it. */
export function orthancAddress(path) {
  const root = ORTHANC.pathname;
  const whole = path.startsWith(root) ? path : root + path.replace(/^\/+/, "");
  return new URL(whole, ORTHANC.origin).href;
}

/** An error in words. */
export function inWords(problem) {
  if (!(problem instanceof ApiError)) return String(problem?.message ?? problem);
  return [problem.message, problem.details].filter(Boolean).join(" – ");
}
