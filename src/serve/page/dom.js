// Making and updating elements. All text is set as text: what comes from data is never read as HTML.

export const $ = (id) => document.getElementById(id);

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** An HTML element. */
export const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) =>
  made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Sets an element's text, if it is another one. */
export function text(element, value) {
  const wanted = String(value);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets an attribute, if it is another one; null takes it away, and so does false, but for what is said by it. */
export function attribute(element, name, value) {
  if (value === null || (value === false && !name.startsWith("aria-"))) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Sets the width of a bar, as a part of 1. */
export function part(element, value) {
  const percent = `${(Math.max(0, Math.min(1, value || 0)) * 100).toFixed(1)}%`;
  if (element.style.width === percent) return;
  element.style.width = percent;
  element.style.visibility = value > 0 ? "" : "hidden";
}

/**
 * Has `parent` hold an element for each item, in their order. What is there already for an item's key stays, so that focus and
 * selection do: `make(item)` is called for new ones, `update(element, item)` for all.
 */
export function keyed(parent, items, key, make, update) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focus = parent.contains(document.activeElement) ? document.activeElement : null;
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = there.get(name);
    there.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of there.values()) gone.remove();
  // An element that was moved has lost it.
  if (focus && focus !== document.activeElement && parent.contains(focus)) focus.focus({ preventScroll: true });
}

/** Makes options of a select the wanted ones: pairs of value and text. What is chosen stays, where it is still there. */
export function options(select, wanted) {
  const same = wanted.length === select.options.length && wanted.every(([value, label], index) =>
    select.options[index].value === value && select.options[index].text === label);
  if (same) return;
  const chosen = select.value;
  select.replaceChildren(...wanted.map(([value, label]) => h("option", { value }, label)));
  if (wanted.some(([value]) => value === chosen)) select.value = chosen;
}
