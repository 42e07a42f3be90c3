/** Functions with which views make elements. */

/**
 * An element by its id, which must be there.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
	return /** @type {T} */ (document.getElementById(id));
}

/**
 * An element with properties, and attributes where it has no such property ("aria-label", "data-layer" …).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [properties]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(properties)) {
		if (name in element)
			Object.assign(element, { [name]: value });
		else
			element.setAttribute(name, String(value));
	}
	element.append(...children);
	return element;
}

/**
 * A shape of SVG.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 */
export function shape(tag, attributes = {}, ...children) {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(attributes))
		element.setAttribute(name, String(value));
	element.append(...children);
	return element;
}

/**
 * Shows an error where it happened, or takes it away.
 * @param {HTMLElement} place
 * @param {string} [text]
 */
export function showError(place, text = "") {
	place.textContent = text;
	place.hidden = text === "";
}

let announced = "";

/**
 * Says something to users of screen readers, who do not see the page change.
 * @param {string} text
 */
export function announce(text) {
	if (text !== announced)
		byId("status").textContent = announced = text;
}
