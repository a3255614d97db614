// A view library for pages that people write, under the address and the names that the old server had for it: html, h,
// render, signal, computed, effect, useSignal, useEffect, ... (Preact, its hooks, its signals, htm).  The built-in page
// does without it.  There is only this module where the server was installed with its libraries (vendor/).
export * from "./vendor/preact.js";
