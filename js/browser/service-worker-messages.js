/** Messages between a page and its service worker. */

/** A message that keeps the worker: its page needs it. */
export const PING = "qstore-decode: stay";

/** @param {unknown} data of a message */
export const isPing = (data) => data === PING;
