// Formulas: KaTeX builds the elements itself, in a chunk of its own that is loaded with the first formula.
import { sanitizeMath } from "./sanitize";

type Katex = typeof import("./katex");
let katex: Promise<Katex> | undefined;

function load(): Promise<Katex> {
  katex ??= import("./katex").then(async (found) => {
    await stylesheet("maths.css");
    return found;
  });
  return katex;
}

function stylesheet(address: string): Promise<void> {
  return new Promise((done) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = address;
    link.onload = link.onerror = () => done();
    document.head.append(link);
  });
}

const built = new Map<string, Node[]>(); // TeX → its elements: a paragraph is drawn again with each word added to it
const KEPT = 500;

/** Put the formula whose TeX an element holds in its place, or leave the TeX where it is faulty. */
export function showMath(element: HTMLElement): void {
  const tex = element.textContent ?? "";
  const display = element.title === "display";
  const place = document.createElement("span");
  place.className = display ? "math display" : "math";
  place.textContent = tex;
  element.replaceWith(place);
  const key = `${display ? "D" : "I"}${tex}`;
  const before = built.get(key);
  if (before) place.replaceChildren(...before.map((node) => node.cloneNode(true)));
  else void load().then(({ build }) => fill(place, key, build(tex, display)));
}

function fill(place: HTMLElement, key: string, parts: { visible: HTMLElement; mathml: string } | null): void {
  if (!parts) {
    place.classList.add("faulty");
    return;
  }
  const spoken = document.createElement("span");
  spoken.className = "offscreen";
  spoken.append(sanitizeMath(parts.mathml));
  parts.visible.setAttribute("aria-hidden", "true");
  const nodes = [spoken, parts.visible];
  if (built.size >= KEPT) built.clear();
  built.set(key, nodes.map((node) => node.cloneNode(true)));
  place.replaceChildren(...nodes);
}
