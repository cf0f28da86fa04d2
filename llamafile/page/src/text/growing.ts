// A Markdown text on screen that grows: finished blocks stay as they are, only the last one is drawn again.
import type { Token, Tokens } from "marked";
import { blocksOf, languageOf, render } from "./blocks";
import { type CodeBox, codeBox } from "./code";
import { type Parts, partsOf, replaceLast } from "./parts";

interface Block {
  raw: string;
  nodes: Node[];
  code?: { box: CodeBox; text: string; language: string };
  parts?: Parts | undefined;
}

export class GrowingText {
  private blocks: Block[] = [];
  private settled = 0; // blocks that cannot change any more
  private length = 0; // characters in those
  private text = "";

  constructor(private readonly root: HTMLElement) {}

  /** Show a text; whole says that nothing will follow. */
  update(text: string, whole: boolean): void {
    if (text === this.text && !whole) return;
    if (!text.startsWith(this.text)) this.clear();
    this.text = text;
    if (whole) this.finish();
    else this.grow();
  }

  private clear(): void {
    this.root.replaceChildren();
    this.blocks = [];
    this.settled = this.length = 0;
  }

  private grow(): void {
    const { tokens } = blocksOf(this.text.slice(this.length));
    this.draw(this.settled, tokens, false);
    const last = tokens.findLastIndex((token) => token.type !== "space");
    for (const token of tokens.slice(0, Math.max(0, last))) {
      this.blocks[this.settled]!.code?.box.close();
      this.settled += 1;
      this.length += token.raw.length;
    }
  }

  /** Look at the text as a whole: a link's address may stand below the place where it is used. */
  private finish(): void {
    const { tokens, references } = blocksOf(this.text);
    if (references) this.clear();
    this.draw(0, tokens, true);
    for (const block of this.blocks) block.code?.box.close();
    const last = tokens.findLastIndex((token) => token.type !== "space");
    this.settled = Math.max(0, last); // the model may be asked to go on
    this.length = tokens.slice(0, this.settled).reduce((sum, token) => sum + token.raw.length, 0);
  }

  private draw(from: number, tokens: Token[], whole: boolean): void {
    for (const [index, token] of tokens.entries()) this.put(from + index, token, whole || index < tokens.length - 1);
    for (const block of this.blocks.splice(from + tokens.length)) remove(block);
  }

  private put(at: number, token: Token, complete: boolean): void {
    const before = this.blocks[at];
    if (before?.raw === token.raw) return;
    if (before && (growCode(before, token) || growParts(before, token))) return;
    const block = drawn(token, complete);
    const next = this.blocks.slice(at + 1).find((one) => one.nodes.length)?.nodes[0] ?? null;
    const anchor = before?.nodes.at(-1)?.nextSibling ?? next;
    for (const node of block.nodes) this.root.insertBefore(node, anchor);
    if (before) remove(before);
    this.blocks[at] = block;
  }
}

function drawn(token: Token, complete: boolean): Block {
  if (token.type === "space" || token.type === "def") return { raw: token.raw, nodes: [] };
  if (token.type !== "code") return { raw: token.raw, nodes: render(token), parts: partsOf(token) };
  const { text, lang } = token as Tokens.Code;
  const language = languageOf(lang);
  const box = codeBox(text, language, !complete);
  return { raw: token.raw, nodes: [box.element], code: { box, text, language } };
}

function growCode(block: Block, token: Token): boolean {
  const { code } = block;
  if (!code || token.type !== "code" || code.language !== languageOf(token.lang) || !token.text.startsWith(code.text)) return false;
  code.box.grow(token.text);
  code.text = token.text;
  block.raw = token.raw;
  return true;
}

/** Lists and tables grow at their end: items and rows before the last one stay as they are. */
function growParts(block: Block, token: Token): boolean {
  const now = partsOf(token);
  if (!block.parts || !now || !replaceLast(block.nodes, block.parts, now)) return false;
  block.parts = now;
  block.raw = token.raw;
  return true;
}

function remove(block: Block): void {
  for (const node of block.nodes) node.parentNode?.removeChild(node);
}
