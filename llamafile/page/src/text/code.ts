// A box of code with its language and a copy button; colours come from highlight.js, which is loaded when first needed.
import { copy } from "../clipboard";
import { sanitizeCode } from "./sanitize";

const TOO_LONG = 100_000; // characters: more is shown without colours
const PIECE = 2000; // characters that are coloured again and again while they grow
const SHARE = 8; // while streaming, colouring takes at most a part in so many of the time

type Colours = typeof import("./languages");
let colours: Promise<Colours> | undefined;
let ready: Colours | undefined;

function load(): Promise<Colours> {
  colours ??= import("./languages").then((found) => (ready = found));
  return colours;
}

export interface CodeBox {
  element: HTMLElement;
  grow(text: string): void;
  close(): void;
}

/** A box for code; grow gives it a longer text, close says that the text is whole. */
export function codeBox(text: string, language: string, growing = false): CodeBox {
  const element = document.createElement("div");
  element.className = "code-box";
  const bar = document.createElement("div");
  bar.className = "code-bar";
  const name = document.createElement("span");
  name.textContent = language || "code";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy the ${language} code`.replace("  ", " "));
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const code = document.createElement("code");
  const tail = document.createTextNode(text);
  code.append(tail);
  pre.append(code);
  bar.append(name, button);
  element.append(bar, pre);

  let whole = text;
  let fixed = 0; // characters whose colours stay until the text is whole
  let coloured = 0; // characters that stand before the tail
  let recent: Node[] = []; // elements of those in between
  let next = 0;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(whole)) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), 1600);
  });

  const paint = async (from: number, upTo: number) => {
    if (!language || upTo > TOO_LONG) return;
    const { colour } = ready ?? (await load());
    if (upTo > whole.length || upTo < coloured || (from && from !== fixed)) return; // overtaken while it was loaded
    const began = performance.now();
    const html = colour(whole.slice(from, upTo), language);
    if (html === null) return;
    const fresh = [...sanitizeCode(html).childNodes];
    if (from === 0) {
      fixed = 0;
      code.replaceChildren(...fresh, tail);
    } else {
      for (const node of recent) code.removeChild(node);
      tail.before(...fresh);
    }
    recent = fresh;
    coloured = upTo;
    tail.data = whole.slice(coloured);
    if (upTo - fixed > PIECE) {
      fixed = upTo;
      recent = [];
    }
    next = performance.now() + SHARE * (performance.now() - began);
  };
  const close = () => {
    if (coloured < whole.length || fixed) void paint(0, whole.length); // a comment may span pieces: once more as a whole
  };
  if (!growing) close();
  return {
    element,
    close,
    grow(longer) {
      tail.appendData(longer.slice(whole.length));
      whole = longer;
      const lines = whole.lastIndexOf("\n") + 1;
      if (lines > coloured && performance.now() > next) void paint(fixed, lines);
    },
  };
}
