// Long lists and tables by their items and rows, so that a new one does not draw all the others again.
import type { Token, Tokens } from "marked";
import { render } from "./blocks";

export interface Parts {
  key: string; // what the parts have in common: where it differs, nothing can be kept
  texts: string[]; // one a part
  from(index: number): Token; // the same block with the parts from there on only
}

/** The parts of a list or a table; undefined for other blocks. */
export function partsOf(token: Token): Parts | undefined {
  if (token.type === "list") {
    const list = token as Tokens.List;
    return {
      key: `${list.ordered} ${list.start} ${list.loose}`,
      texts: list.items.map((item) => item.raw),
      from: (index) => ({ ...list, items: list.items.slice(index) }),
    };
  }
  if (token.type !== "table") return undefined;
  const table = token as Tokens.Table;
  const words = (cells: Tokens.TableCell[]) => cells.map((cell) => cell.text).join("\n");
  return {
    key: `${words(table.header)} ${table.align.join()}`,
    texts: table.rows.map(words),
    from: (index) => ({ ...table, rows: table.rows.slice(index) }),
  };
}

/** Draw the last part again and those that came after it; false where the elements must be drawn as a whole. */
export function replaceLast(nodes: Node[], before: Parts, now: Parts): boolean {
  const kept = before.texts.length - 1;
  const place = holder(nodes);
  if (!place || kept < 0 || before.key !== now.key || now.texts.length <= kept) return false;
  if (place.children.length !== before.texts.length) return false;
  for (let at = 0; at < kept; at += 1) if (before.texts[at] !== now.texts[at]) return false;
  const fresh = holder(render(now.from(kept)));
  if (!fresh) return false;
  place.lastElementChild!.remove();
  place.append(...fresh.children);
  return true;
}

function holder(nodes: Node[]): Element | null {
  const first = nodes.find((node): node is Element => node instanceof Element);
  return first?.matches("ul, ol") ? first : (first?.querySelector("tbody") ?? null);
}
