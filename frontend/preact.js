// A small view library with signals, under the names that the old server's /index.js had, and all others of its parts.
import htm from "htm";
import { h } from "preact";

export * from "preact";
export * from "preact/hooks";
export * from "@preact/signals";
export const html = htm.bind(h);
