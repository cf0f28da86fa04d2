// The chats on screen: which one is open, its messages, the branch that is shown; every change goes through the store.
import { computed, signal } from "@preact/signals";
import { newId } from "./ids";
import * as store from "./store";
import { say } from "./toasts";
import { byParent, newestLeaf, pathTo, type Messages } from "./tree";
import type { Chat, Message } from "./types";

/** This tab, the same after a reload: it tells the answers it was writing from another tab's. */
export const tab = (() => {
  const name = sessionStorage.getItem("tab") ?? newId();
  sessionStorage.setItem("tab", name);
  return name;
})();

const ABANDONED = 5_000; // milliseconds without a word from the tab that writes a message

export const loaded = signal(false);
export const chats = signal<readonly Chat[]>([]);
export const openChat = signal<string | null>(null);
export const messages = signal<Messages>(new Map());
export const leaf = signal<string | null>(null);
export const children = computed(() => byParent(messages.value));
export const path = computed(() => pathTo(messages.value, leaf.value));
export const current = computed(() => chats.value.find((chat) => chat.id === openChat.value) ?? null);

/** Messages this tab is writing at the moment; what the store says of them is older. */
export const writing = new Map<string, Message>();

export async function refreshChats(): Promise<void> {
  const all = await store.allChats();
  chats.value = all.filter((chat) => !chat.deleted).sort((a, b) => b.updated - a.updated);
  if (openChat.value && !chats.value.some((chat) => chat.id === openChat.value)) await show(null);
}

/** Read the open chat again, and follow what was added below the leaf. */
export async function refreshMessages(): Promise<void> {
  const chat = openChat.value;
  if (!chat) return;
  const found = await store.messagesOf(chat);
  if (chat !== openChat.value) return;
  messages.value = new Map(found.map((message) => [message.id, settled(writing.get(message.id) ?? message)]));
  const known = leaf.value !== null && messages.value.has(leaf.value) ? leaf.value : null;
  leaf.value = newestLeaf(children.value, known);
}

/** A message that claims to be written though nobody writes it has been stopped. */
function settled(message: Message): Message {
  if (message.status !== "live" || writing.has(message.id)) return message;
  const abandoned = message.owner === tab || Date.now() - (message.touched ?? 0) > ABANDONED;
  if (!abandoned) setTimeout(() => void refreshMessages(), ABANDONED);
  return abandoned ? { ...message, status: "stopped" } : message;
}

/** Open a chat, or the empty page for a new one. */
export async function show(id: string | null): Promise<void> {
  const chat = chats.value.find((one) => one.id === id) ?? null;
  const found = chat ? await store.messagesOf(chat.id) : [];
  openChat.value = chat?.id ?? null;
  messages.value = new Map(found.map((message) => [message.id, settled(writing.get(message.id) ?? message)]));
  leaf.value = chat?.leaf && messages.value.has(chat.leaf) ? chat.leaf : newestLeaf(children.value, null);
  const address = chat ? `#/chat/${chat.id}` : "#/";
  if (location.hash !== address) history.pushState(null, "", address);
}

/** Show what the address says. */
export function showAddress(): Promise<void> {
  return show(/^#\/chat\/(\w+)$/.exec(location.hash)?.[1] ?? null);
}

/** Show the branch that goes through a message. */
export async function showBranch(id: string): Promise<void> {
  leaf.value = newestLeaf(children.value, id);
  if (openChat.value) await store.patchChat(openChat.value, { leaf: leaf.value });
}

/** Make a chat, keep it and open it. */
export async function startChat(title: string): Promise<Chat> {
  const now = Date.now();
  const chat: Chat = { id: newId(), title, named: false, created: now, updated: now, leaf: null, system: null };
  await store.addChat(chat);
  await refreshChats();
  await show(chat.id);
  return chat;
}

/** Add messages at the end of a branch of a chat; false when the chat was deleted meanwhile. */
export async function append(chat: string, added: Message[]): Promise<boolean> {
  const last = added.at(-1)!.id;
  if (!(await store.addMessages(chat, added, { leaf: last }))) return false;
  if (openChat.value === chat) {
    messages.value = new Map([...messages.value, ...added.map((message) => [message.id, message] as const)]);
    leaf.value = last;
  }
  await refreshChats();
  return true;
}

/** Put a changed message on screen; the store is told separately, less often. */
export function replaceShown(message: Message): void {
  if (message.chat !== openChat.value || !messages.value.has(message.id)) return;
  messages.value = new Map(messages.value).set(message.id, message);
}

export async function rename(id: string, title: string): Promise<void> {
  if (title.trim()) await store.patchChat(id, { title: title.trim(), named: true });
  await refreshChats();
}

export async function setInstructions(id: string, system: string | null): Promise<void> {
  await store.patchChat(id, { system });
  await refreshChats();
}

/** Delete chats; for some seconds a button takes it back. */
export async function remove(ids: readonly string[]): Promise<void> {
  const shown = openChat.value;
  for (const id of ids) await store.patchChat(id, { deleted: Date.now() });
  await refreshChats();
  const words = ids.length === 1 ? "Chat deleted" : `${ids.length} chats deleted`;
  const restore = async () => {
    for (const id of ids) await store.patchChat(id, { deleted: undefined });
    await refreshChats();
    if (shown && ids.includes(shown)) await show(shown);
  };
  say(words, { action: "Undo", act: () => void restore(), gone: () => void store.purge(ids) });
}

/** Read everything, open what the address names, and follow other tabs. */
export async function start(): Promise<void> {
  await refreshChats();
  await showAddress();
  loaded.value = true;
  void store.purge();
  addEventListener("popstate", () => void showAddress());
  store.onChange(async (change) => {
    await refreshChats();
    if (change.chat === null || change.chat === openChat.value) await refreshMessages();
  });
}
