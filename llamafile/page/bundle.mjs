// Bundles the page into the folder named by the first argument, with gzip forms and the licences of what is in it.
import { readFileSync, writeFileSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT = 600_000; // bytes of the whole page, compressed
const [out, policy] = process.argv.slice(2);

/** KaTeX names three forms of each font; every browser that can run the page reads the smallest. */
const smallestFonts = {
  name: "smallest fonts",
  setup(bundler) {
    bundler.onLoad({ filter: /katex\.min\.css$/ }, ({ path }) => ({
      loader: "css",
      contents: readFileSync(path, "utf8").replace(/,url\([^)]*\.(?:woff|ttf)\) format\("[^"]*"\)/g, ""),
    }));
  },
};

function licences(inputs) {
  const packages = new Set();
  for (const input of inputs) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (found) packages.add(found[1]);
  }
  const parts = [];
  for (const name of [...packages].sort()) {
    const folder = join("node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
    if (!files.length) throw new Error(`${name}: it has no licence file`);
    parts.push(`${name} ${version} (${license})\n\n${files.map((f) => readFileSync(join(folder, f), "utf8")).join("\n")}`);
  }
  return parts.join(`\n${"-".repeat(72)}\n\n`);
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const done = await build({
  entryPoints: { page: "src/main.tsx", theme: "src/theme.js" },
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none", // the licences are collected below
  chunkNames: "[name]-[hash]",
  outdir: out,
  metafile: true,
  logLevel: "warning",
});
const styles = await build({
  entryPoints: { page: "src/style/page.css", maths: "src/style/maths.css" },
  bundle: true,
  target: ["chrome123", "firefox120", "safari17.5"],
  minify: true,
  loader: { ".woff2": "file" },
  assetNames: "[name]",
  plugins: [smallestFonts],
  outdir: out,
  metafile: true,
  logLevel: "warning",
});
writeFileSync(join(out, "index.html"), readFileSync("src/index.html", "utf8").replace("@POLICY@", policy));
writeFileSync(join(out, "icon.svg"), readFileSync("src/icon.svg"));

let total = 0;
for (const name of readdirSync(out).sort()) {
  const path = join(out, name);
  const data = readFileSync(path);
  if (name.endsWith(".woff2")) {
    total += statSync(path).size;
    continue;
  }
  const packed = gzipSync(data, { level: 9 });
  writeFileSync(`${path}.gz`, packed);
  total += packed.length;
}
const inputs = [...Object.keys(done.metafile.inputs), ...Object.keys(styles.metafile.inputs)];
writeFileSync(join(out, "licenses.txt"), licences(inputs));
console.log(`${basename(out)}: ${total.toLocaleString("en")} bytes compressed`);
if (total > LIMIT) throw new Error(`the page has ${total} bytes compressed, more than ${LIMIT}`);
