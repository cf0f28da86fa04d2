// Chats to a JSON file and back; a file from elsewhere is read field by field and refused with a reason.
import { newId } from "./ids";
import { addAll, everything } from "./store";
import type { Attachment, Chat, Message, ToolCall } from "./types";

const FORMAT = "llamafile-chats";
const VERSION = 1;

export class ImportError extends Error {}

/** The text of an export of all chats, or of one. */
export async function exportText(only?: string): Promise<string> {
  const items = await everything(only);
  const chats = items.map(({ chat, messages }) => ({ ...chat, messages: messages.sort(byTime).map(withoutOwner) }));
  return JSON.stringify({ format: FORMAT, version: VERSION, exported: new Date().toISOString(), chats }, null, 1);
}

function byTime(a: Message, b: Message): number {
  return a.created - b.created || (b.parent === a.id ? -1 : a.parent === b.id ? 1 : 0);
}

function withoutOwner({ owner: _owner, touched: _touched, ...message }: Message): Message {
  return message.status === "live" ? { ...message, status: "stopped" } : message;
}

export function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Add the chats of an exported text beside those that are there; how many they were. Raises ImportError. */
export async function importText(text: string): Promise<number> {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    throw new ImportError("This is not a JSON file.");
  }
  const { format, version, chats } = asObject(root, "the file");
  if (format !== FORMAT || !Array.isArray(chats)) throw new ImportError("This file was not exported from here.");
  if (version !== VERSION) throw new ImportError("This file comes from a newer llamafile.");
  const items = chats.map((chat, index) => readChat(chat, `chat ${index + 1}`));
  await addAll(items);
  return items.length;
}

function readChat(value: unknown, where: string): { chat: Chat; messages: Message[] } {
  const raw = asObject(value, where);
  const id = newId(); // always new: importing twice gives two chats and can never change one that is there
  const names = new Map<string, string>();
  const list = Array.isArray(raw["messages"]) ? raw["messages"] : [];
  for (const [index, message] of list.entries()) {
    names.set(asText(asObject(message, where)["id"], `${where}, message ${index + 1}`), newId());
  }
  const messages = list.map((message, index) => readMessage(message, `${where}, message ${index + 1}`, id, names));
  refuseLoops(messages, where);
  const leaf = typeof raw["leaf"] === "string" ? (names.get(raw["leaf"]) ?? null) : null;
  const chat: Chat = {
    id,
    title: asText(raw["title"], where).slice(0, 200) || "Imported chat",
    named: raw["named"] === true,
    created: asTime(raw["created"]),
    updated: asTime(raw["updated"]),
    leaf,
    system: typeof raw["system"] === "string" ? raw["system"] : null,
  };
  return { chat, messages };
}

function readMessage(value: unknown, where: string, chat: string, names: Map<string, string>): Message {
  const raw = asObject(value, where);
  const role = raw["role"];
  if (role !== "user" && role !== "assistant" && role !== "tool") throw new ImportError(`${where} has an unknown role.`);
  const status = raw["status"];
  const message: Message = {
    id: names.get(raw["id"] as string)!,
    chat,
    parent: typeof raw["parent"] === "string" ? (names.get(raw["parent"]) ?? null) : null,
    role,
    text: asText(raw["text"], where),
    created: asTime(raw["created"]),
    status: status === "stopped" || status === "failed" ? status : "done",
  };
  if (typeof raw["reasoning"] === "string") message.reasoning = raw["reasoning"];
  if (typeof raw["thoughtFor"] === "number") message.thoughtFor = raw["thoughtFor"];
  if (typeof raw["toolCallId"] === "string") message.toolCallId = raw["toolCallId"];
  if (Array.isArray(raw["toolCalls"])) message.toolCalls = raw["toolCalls"].map((call) => readCall(call, where));
  if (Array.isArray(raw["attachments"])) {
    message.attachments = raw["attachments"].map((file) => readAttachment(file, where));
  }
  return message;
}

function readCall(value: unknown, where: string): ToolCall {
  const raw = asObject(value, where);
  return { id: asText(raw["id"], where), name: asText(raw["name"], where), arguments: asText(raw["arguments"], where) };
}

function readAttachment(value: unknown, where: string): Attachment {
  const raw = asObject(value, where);
  const data = asText(raw["data"], where);
  if (raw["kind"] !== "image") return { kind: "text", name: asText(raw["name"], where), data };
  if (!/^data:image\/(png|jpeg|webp|gif);base64,/.test(data)) throw new ImportError(`${where} has a strange image.`);
  return { kind: "image", name: asText(raw["name"], where), data };
}

function refuseLoops(messages: Message[], where: string): void {
  const parents = new Map(messages.map((message) => [message.id, message.parent]));
  const sound = new Set<string>();
  for (const { id } of messages) {
    const walked = new Set<string>();
    for (let at: string | null = id; at !== null && !sound.has(at); at = parents.get(at) ?? null) {
      if (walked.has(at)) throw new ImportError(`${where}: its messages answer each other in a circle.`);
      walked.add(at);
    }
    for (const each of walked) sound.add(each);
  }
}

function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ImportError(`${where} is damaged.`);
  return value as Record<string, unknown>;
}

function asText(value: unknown, where: string): string {
  if (typeof value !== "string") throw new ImportError(`${where} is damaged.`);
  return value;
}

function asTime(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : Date.now();
}
