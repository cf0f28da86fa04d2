// A chat as a tree: an edit or another try is a sibling, and what is shown is the path from the root to one leaf.
import type { Message } from "./types";

export type Messages = ReadonlyMap<string, Message>;

/** The messages from the root to the leaf; stops where a parent is missing or would repeat. */
export function pathTo(messages: Messages, leaf: string | null): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let id = leaf; id !== null && !seen.has(id); ) {
    const message = messages.get(id);
    if (!message) break;
    seen.add(id);
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

/** Parent → its children, oldest first; messages whose parent is missing stand under null. */
export function byParent(messages: Messages): Map<string | null, Message[]> {
  const children = new Map<string | null, Message[]>();
  for (const message of messages.values()) {
    const parent = message.parent !== null && messages.has(message.parent) ? message.parent : null;
    const list = children.get(parent);
    if (list) list.push(message);
    else children.set(parent, [message]);
  }
  for (const list of children.values()) list.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  return children;
}

/** The leaf reached from a message by always taking the newest child. */
export function newestLeaf(children: Map<string | null, Message[]>, from: string | null): string | null {
  let id = from;
  for (const seen = new Set<string | null>(); !seen.has(id); ) {
    seen.add(id);
    const last = children.get(id)?.at(-1);
    if (!last) break;
    id = last.id;
  }
  return id;
}
