// Bundles the libraries of package-lock.json into ./vendor: ES modules that need nothing else, KaTeX's style sheet and
// fonts, everyone's licence, and a manifest.  vendor.py runs it, in a copy of this folder after `npm ci`.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const [inputs] = process.argv.slice(2);
const katex = "node_modules/katex/dist";

const { metafile } = await build({
  entryPoints: ["preact.js", "markdown.js", "highlight.js", "katex.js"],
  outdir: "vendor",
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none", // LICENSES.txt has all of them, whole
  logLevel: "warning",
  metafile: true,
});

// Every browser that runs these modules reads WOFF2; the older formats would be three times as many bytes.
mkdirSync("vendor/fonts");
const fonts = readdirSync(`${katex}/fonts`).filter((name) => name.endsWith(".woff2"));
for (const name of fonts) cpSync(`${katex}/fonts/${name}`, `vendor/fonts/${name}`);
const style = readFileSync(`${katex}/katex.min.css`, "utf8").replace(/,url\([^)]+\.(woff|ttf)\) format\("\w+"\)/g, "");
writeFileSync("vendor/katex.css", style);

const bundled = Object.keys(metafile.inputs).map((path) => /node_modules\/((@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
const packages = Object.fromEntries(
  [...new Set(bundled)].filter(Boolean).sort().map((name) => [name, JSON.parse(text(name, /^package\.json$/)).version]),
);
const licences = Object.entries(packages).map(([name, version]) => `${name} ${version}\n\n${text(name, /^licen[sc]e/i)}`);
writeFileSync("vendor/LICENSES.txt", licences.join(`\n${"-".repeat(80)}\n`));

const files = readdirSync("vendor", { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replace("vendor/", ""))
  .sort();
const digests = Object.fromEntries(files.map((name) => [name, sha256(readFileSync(`vendor/${name}`))]));
writeFileSync("vendor/manifest.json", `${JSON.stringify({ inputs, packages, files: digests }, null, 2)}\n`);

/** A file of a package, by a pattern of its name; a package without one is not to be shipped. */
function text(name, pattern) {
  const found = readdirSync(`node_modules/${name}`).find((file) => pattern.test(file));
  if (!found) throw new Error(`${name} has no file ${pattern}`);
  return readFileSync(`node_modules/${name}/${found}`, "utf8");
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
