// The history in IndexedDB. Each change is one transaction that reads what it changes, so two tabs cannot lose each
// other's messages; other tabs are told through a BroadcastChannel.
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Attachment, Chat, Message } from "./types";

interface Schema extends DBSchema {
  chats: { key: string; value: Chat };
  messages: { key: string; value: Message; indexes: { chat: string } };
  drafts: { key: string; value: { id: string; attachments: Attachment[] } };
}

export interface Change {
  chat: string | null; // null: many
}

const CHANNEL = "llamafile-history";
const PURGE_AFTER = 60_000; // a deleted chat can be taken back this long, in milliseconds

let database: Promise<IDBPDatabase<Schema>> | undefined;
const channel = new BroadcastChannel(CHANNEL);

function db(): Promise<IDBPDatabase<Schema>> {
  database ??= openDB<Schema>("llamafile", 1, {
    upgrade(fresh) {
      fresh.createObjectStore("chats", { keyPath: "id" });
      fresh.createObjectStore("messages", { keyPath: "id" }).createIndex("chat", "chat");
      fresh.createObjectStore("drafts", { keyPath: "id" });
    },
    blocking(_current, _next, event) {
      (event.target as IDBDatabase).close(); // a newer page in another tab wants to change the shape
      database = undefined;
    },
    terminated() {
      database = undefined;
    },
  });
  return database;
}

function tell(chat: string | null): void {
  channel.postMessage({ chat } satisfies Change);
}

/** Call heard for each change that another tab has made. */
export function onChange(heard: (change: Change) => void): void {
  channel.addEventListener("message", (event: MessageEvent<Change>) => heard(event.data));
}

/** All chats, the deleted ones too, in no order. */
export async function allChats(): Promise<Chat[]> {
  return (await db()).getAll("chats");
}

export async function messagesOf(chat: string): Promise<Message[]> {
  return (await db()).getAllFromIndex("messages", "chat", chat);
}

/** Put a new chat with its first messages. */
export async function addChat(chat: Chat, messages: Message[] = []): Promise<void> {
  const change = (await db()).transaction(["chats", "messages"], "readwrite");
  await Promise.all([
    change.objectStore("chats").add(chat),
    ...messages.map((message) => change.objectStore("messages").add(message)),
    change.done,
  ]);
  tell(chat.id);
}

/** Add messages and change fields of their chat; false when the chat is gone. */
export async function addMessages(chat: string, messages: Message[], fields: Partial<Chat>): Promise<boolean> {
  const change = (await db()).transaction(["chats", "messages"], "readwrite");
  const present = await change.objectStore("chats").get(chat);
  if (present) {
    await change.objectStore("chats").put({ ...present, ...fields, updated: Date.now() });
    for (const message of messages) await change.objectStore("messages").add(message);
  }
  await change.done;
  if (present) tell(chat);
  return present !== undefined;
}

/** Change fields of a message; false when it is gone. */
export async function patchMessage(id: string, fields: Partial<Message>): Promise<boolean> {
  const change = (await db()).transaction("messages", "readwrite");
  const present = await change.store.get(id);
  if (present) await change.store.put({ ...present, ...fields });
  await change.done;
  if (present) tell(present.chat);
  return present !== undefined;
}

/** Change fields of a chat; undefined takes a field away. False when the chat is gone. */
export async function patchChat(id: string, fields: Partial<Chat>): Promise<boolean> {
  const change = (await db()).transaction("chats", "readwrite");
  const present = await change.store.get(id);
  if (present) await change.store.put({ ...present, ...fields });
  await change.done;
  if (present) tell(id);
  return present !== undefined;
}

/** Remove for good the chats that were deleted a while ago, or those named. */
export async function purge(ids?: readonly string[]): Promise<void> {
  const change = (await db()).transaction(["chats", "messages"], "readwrite");
  for (const chat of await change.objectStore("chats").getAll()) {
    const due = ids ? ids.includes(chat.id) : chat.deleted !== undefined && chat.deleted < Date.now() - PURGE_AFTER;
    if (!due || chat.deleted === undefined) continue; // taken back meanwhile, perhaps in another tab
    await change.objectStore("chats").delete(chat.id);
    for (const key of await change.objectStore("messages").index("chat").getAllKeys(chat.id)) {
      await change.objectStore("messages").delete(key);
    }
  }
  await change.done;
  tell(null);
}

/** Chat → the first passage in it that holds the words, case aside. */
export async function search(words: string): Promise<Map<string, string>> {
  const wanted = words.toLocaleLowerCase();
  const found = new Map<string, string>();
  const read = (await db()).transaction("messages");
  for (let at = await read.store.openCursor(); at; at = await at.continue()) {
    const { chat, text } = at.value;
    const where = found.has(chat) ? -1 : text.toLocaleLowerCase().indexOf(wanted);
    if (where >= 0) found.set(chat, passage(text, where, wanted.length));
  }
  return found;
}

function passage(text: string, at: number, length: number): string {
  const from = Math.max(0, at - 24);
  const piece = text.slice(from, at + length + 60).replace(/\s+/g, " ");
  return (from > 0 ? "…" : "") + piece;
}

/** Everything that is kept and not deleted. */
export async function everything(only?: string): Promise<{ chat: Chat; messages: Message[] }[]> {
  const read = (await db()).transaction(["chats", "messages"]);
  const chats = (await read.objectStore("chats").getAll()).filter((c) => !c.deleted && (!only || c.id === only));
  return Promise.all(
    chats.map(async (chat) => ({
      chat,
      messages: await read.objectStore("messages").index("chat").getAll(chat.id),
    })),
  );
}

/** Add imported chats in one transaction: all of them, or none. */
export async function addAll(items: { chat: Chat; messages: Message[] }[]): Promise<void> {
  const change = (await db()).transaction(["chats", "messages"], "readwrite");
  for (const { chat, messages } of items) {
    await change.objectStore("chats").add(chat);
    for (const message of messages) await change.objectStore("messages").add(message);
  }
  await change.done;
  tell(null);
}

export async function draftAttachments(id: string): Promise<Attachment[]> {
  return (await (await db()).get("drafts", id))?.attachments ?? [];
}

export async function keepDraftAttachments(id: string, attachments: Attachment[]): Promise<void> {
  if (attachments.length) await (await db()).put("drafts", { id, attachments });
  else await (await db()).delete("drafts", id);
}
