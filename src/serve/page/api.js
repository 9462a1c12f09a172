// Asking the engine: JSON over HTTP, with the token where it wants one.

const KEY = "cutwater-token";
const PATIENCE = 10_000;

/** The engine could not be asked: it is gone, or does not answer. */
export class Gone extends Error {}

/** The engine has answered that it will not: `status`, and its own words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let wanted = () => {};

/** Calls `ask` when a token is wanted; `wrong` says that there was one. */
export function onTokenWanted(ask) {
  wanted = ask;
}

/** Takes the token for all that is asked from now on, until this tab is closed. */
export function setToken(token) {
  sessionStorage.setItem(KEY, token);
}

/** Asks for `path`, relative to the page, with parameters; those that are undefined are left out. */
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined));
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}`, Accept: "application/json" } : { Accept: "application/json" };
  const url = query.size ? `${path}?${query}` : path;
  let response;
  let body;
  try {
    response = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    body = await response.text();
  } catch (error) {
    throw new Gone(error.message);
  }
  if (response.status === 401) wanted(token !== null);
  if (!response.ok) throw new Refused(response.status, reason(body, response));
  return JSON.parse(body);
}

function reason(body, response) {
  try {
    const { error } = JSON.parse(body);
    if (typeof error === "string") return error;
  } catch {
    // Not an answer of ours: a proxy's, say.
  }
  return `HTTP ${response.status} ${response.statusText}`.trim();
}
