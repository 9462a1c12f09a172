// Asking the engine: JSON over HTTP, with the token where it wants one.

const KEY = "cutwater-token";
const PATIENCE = 10_000;

/** The engine could not be asked: nothing is there, or, where it is `silent`, what is there does not answer in time. */
export class Gone extends Error {
  constructor(error) {
    super(error.message);
    this.silent = error.name === "TimeoutError";
  }
}

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
export const ask = async (path, parameters = {}) => JSON.parse(await answer(path, parameters, "application/json"));

/** Asks for what is no JSON. */
export const askText = (path) => answer(path, {}, "text/plain");

async function answer(path, parameters, accept) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== undefined));
  const token = sessionStorage.getItem(KEY);
  const headers = { Accept: accept, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const url = query.size ? `${path}?${query}` : path;
  let response;
  let body;
  try {
    response = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    body = await response.text();
  } catch (error) {
    throw new Gone(error);
  }
  if (response.status === 401) wanted(token !== null);
  if (!response.ok) throw new Refused(response.status, reason(body, response));
  return body;
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
