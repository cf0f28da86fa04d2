// Markdown by marked: cut into blocks, and each block to sanitised DOM.
import { Marked, type Token, type TokenizerAndRendererExtension, type Tokens } from "marked";
import { codeBox } from "./code";
import { showMath } from "./maths";
import { sanitize } from "./sanitize";

// Names that a model's HTML may not use: maths are carried past the sanitiser in elements of this kind.
const MATH = "var";
const HARMLESS = /^<\/?(?:b|br|del|em|i|ins|kbd|mark|s|small|strong|sub|sup|u|details|summary)\s*\/?>$/i;

const inlineMath: TokenizerAndRendererExtension = {
  name: "inlineMath",
  level: "inline",
  start: (text) => /\$|\\\(|\\\[/.exec(text)?.index,
  tokenizer(text) {
    const found =
      /^\$\$([^$]+?)\$\$/.exec(text) ??
      /^\\\[([\s\S]+?)\\\]/.exec(text) ??
      /^\\\(([\s\S]+?)\\\)/.exec(text) ??
      /^\$(?![\s$])((?:\\.|[^$\\\n])*?[^\s$\\])\$(?!\d)/.exec(text);
    if (!found) return undefined;
    return { type: "inlineMath", raw: found[0], text: found[1]!, display: /^(?:\$\$|\\\[)/.test(found[0]) };
  },
  renderer: (token) => mathElement(token),
};

const blockMath: TokenizerAndRendererExtension = {
  name: "blockMath",
  level: "block",
  start: (text) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(text)?.index,
  tokenizer(text) {
    const found = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\]) *(?:\n|$)/.exec(text);
    if (!found) return undefined;
    return { type: "blockMath", raw: found[0], text: found[1] ?? found[2]!, display: true };
  },
  renderer: (token) => `<p>${mathElement(token)}</p>\n`,
};

function mathElement(token: Tokens.Generic): string {
  return `<${MATH} title="${token["display"] ? "display" : "inline"}">${escaped(token["text"])}</${MATH}>`;
}

const marked = new Marked({
  gfm: true,
  breaks: false,
  extensions: [inlineMath, blockMath],
  renderer: {
    // Tags that are no plain mark-up are shown as the text they are: nobody wants a lesson on HTML to vanish.
    html: (token) => (HARMLESS.test(token.text.trim()) ? token.text : shown(token as Tokens.HTML)),
    code: ({ text, lang }) => preformatted(text, lang ?? ""),
  },
});

function shown({ text, block }: Tokens.HTML): string {
  return block ? preformatted(text, "html") : escaped(text);
}

function preformatted(text: string, language: string): string {
  return `<pre title="${escaped(language)}">${escaped(text)}</pre>\n`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** The blocks of a text, in order; their raw parts make up the whole text. */
export function blocksOf(text: string): { tokens: Token[]; references: boolean } {
  const tokens = marked.lexer(text);
  return { tokens, references: Object.keys(tokens.links).length > 0 };
}

/** The elements of one block that is no code. */
export function render(token: Token): Node[] {
  const fragment = sanitize(marked.parser([token]));
  for (const pre of fragment.querySelectorAll("pre")) {
    pre.replaceWith(codeBox(pre.textContent ?? "", languageOf(pre.title)).element);
  }
  for (const math of fragment.querySelectorAll<HTMLElement>(MATH)) showMath(math);
  for (const table of fragment.querySelectorAll("table")) scrollable(table);
  return [...fragment.childNodes];
}

/** The language that the words behind a fence name. */
export function languageOf(words: string | undefined): string {
  return (words ?? "").trim().split(/[\s{,:]/, 1)[0]!.toLowerCase().slice(0, 24);
}

function scrollable(table: HTMLTableElement): void {
  const frame = document.createElement("div");
  frame.className = "table-frame";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Table");
  table.replaceWith(frame);
  frame.append(table);
}
