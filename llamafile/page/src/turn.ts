// One turn: what the user says becomes a message, the model's answer streams into another.
import { signal, type Signal } from "@preact/signals";
import { type Piece, RequestError, streamAnswer, type ToolDelta } from "./api";
import { append, chats, openChat, path, messages, replaceShown, startChat, tab, writing } from "./history";
import { newId } from "./ids";
import { asRequest } from "./conversation";
import { settings } from "./settings";
import * as server from "./server";
import * as store from "./store";
import { announce } from "./toasts";
import { pathTo } from "./tree";
import type { Attachment, Message, ToolCall } from "./types";

/** An answer that is being written: its message grows in place, and tick says when to look again. */
export interface Live {
  message: Message;
  tick: Signal<number>;
  progress: Signal<number | null>;
  rate: Signal<number | null>; // tokens per second so far
  count: Signal<number>; // tokens so far
  controller: AbortController;
}

export const live = signal<ReadonlyMap<string, Live>>(new Map()); // chat → its answer
const KEEP_EVERY = 400; // milliseconds between two writes of a growing answer to the store

/** Send what the user wrote, in the open chat or a new one; done when the answer has begun. */
export async function send(text: string, attachments: Attachment[] = []): Promise<void> {
  const chat = openChat.value ?? (await startChat(titleFrom(text, attachments))).id;
  await say(chat, path.value.at(-1)?.id ?? null, text, attachments);
}

/** Send a changed version of a user's message: a sibling of it, answered anew. */
export async function resend(original: Message, text: string): Promise<void> {
  await say(original.chat, original.parent, text, original.attachments ?? []);
}

async function say(chat: string, parent: string | null, text: string, attachments: Attachment[]): Promise<void> {
  const message: Message = { ...fresh(chat, parent, "user"), text, status: "done" };
  if (attachments.length) message.attachments = attachments;
  if (await append(chat, [message])) void answer(chat, message.id);
}

/** Answer a message again: the new answer is a sibling of the old one. */
export function regenerate(message: Message): void {
  void answer(message.chat, message.parent);
}

/** Let the model go on with an answer that ended early. */
export async function goOn(ended: Message): Promise<void> {
  const { failure: _failure, limited: _limited, ...message } = ended;
  message.status = "live";
  await write(message, message.id, async () => {
    replaceShown(message);
    return store.patchMessage(message.id, { status: "live", failure: undefined, limited: undefined });
  });
}

/** Give the results of tool calls and let the model go on. */
export async function giveResults(message: Message, results: string[]): Promise<void> {
  let parent = message.id;
  const added = (message.toolCalls ?? []).map((call, index) => {
    const result: Message = { ...fresh(message.chat, parent, "tool"), status: "done" };
    result.text = results[index] ?? "";
    result.toolCallId = call.id;
    result.created += index;
    parent = result.id;
    return result;
  });
  if (await append(message.chat, added)) void answer(message.chat, parent);
}

export function stop(chat: string | null = openChat.value): void {
  if (chat) live.value.get(chat)?.controller.abort();
}

function fresh(chat: string, parent: string | null, role: Message["role"]): Message {
  return { id: newId(), chat, parent, role, text: "", created: Date.now(), status: "live" };
}

function titleFrom(text: string, attachments: Attachment[]): string {
  const line = text.trim().split("\n", 1)[0] || attachments[0]?.name || "New chat";
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
}

async function answer(chat: string, parent: string | null): Promise<void> {
  const message = fresh(chat, parent, "assistant");
  await write(message, parent, () => append(chat, [message]));
}

/** Have the model write a message, after the branch that ends with the one named; place puts it into the chat. */
async function write(message: Message, after: string | null, place: () => Promise<boolean>): Promise<void> {
  const { chat } = message;
  if (live.value.has(chat)) return;
  message.owner = tab;
  message.touched = Date.now();
  const one: Live = {
    message,
    tick: signal(0),
    progress: signal(null),
    rate: signal(null),
    count: signal(0),
    controller: new AbortController(),
  };
  live.value = new Map(live.value).set(chat, one);
  writing.set(message.id, message);
  try {
    if (!(await place())) return;
    announce("The answer is being written.");
    const system = chats.value.find((each) => each.id === chat)?.system ?? settings.value.system;
    const known = openChat.value === chat ? messages.value : new Map((await store.messagesOf(chat)).map((m) => [m.id, m]));
    const body = asRequest(pathTo(known, after), system, settings.value, server.served.value);
    await run(one, body);
  } finally {
    writing.delete(message.id);
    const left = new Map(live.value);
    left.delete(chat);
    live.value = left;
  }
  await finish(message);
}

async function run(one: Live, body: object): Promise<void> {
  const { message, controller } = one;
  const heard = new Listener(one);
  const keeper = setInterval(() => void keepGrowing(message, controller), KEEP_EVERY);
  try {
    await streamAnswer(body, controller.signal, (piece) => heard.take(piece));
    message.status = "done";
  } catch (problem) {
    if (controller.signal.aborted) {
      message.status = "stopped";
    } else if (problem instanceof RequestError) {
      message.status = "failed";
      message.failure = problem.failure;
      server.suspect(problem);
    } else {
      message.status = "failed";
      message.failure = { kind: "refused", text: "The server's answer could not be read." };
      console.error(problem);
    }
  } finally {
    clearInterval(keeper);
    heard.close();
  }
}

async function keepGrowing(message: Message, controller: AbortController): Promise<void> {
  message.touched = Date.now();
  if (!(await store.patchMessage(message.id, { ...message }))) controller.abort(); // its chat was deleted for good
}

async function finish(message: Message): Promise<void> {
  delete message.owner;
  delete message.touched;
  replaceShown({ ...message });
  await store.patchMessage(message.id, { ...message, owner: undefined, touched: undefined });
  const words = { done: "Answer complete", stopped: "Answer stopped", failed: "No answer", live: "" }[message.status];
  announce(`${words}. ${message.failure?.text ?? message.text.slice(0, 2000)}`);
}

/** Adds pieces to the message, and has the screen follow once a frame. */
class Listener {
  private frame = 0;
  private count = 0;
  private began = 0;
  private thinkingSince = 0;

  constructor(private readonly one: Live) {}

  take(piece: Piece): void {
    const { message, progress, rate } = this.one;
    if (piece.progress !== undefined) progress.value = piece.progress;
    if (piece.stats) {
      message.stats = piece.stats;
      rate.value = piece.stats.perSecond || null;
    }
    if (piece.finish) message.limited = piece.finish === "length";
    if (!piece.text && !piece.reasoning && !piece.tools) return;
    progress.value = null;
    this.count += 1;
    this.began ||= performance.now();
    if (piece.reasoning) {
      this.thinkingSince ||= performance.now();
      message.reasoning = (message.reasoning ?? "") + piece.reasoning;
    }
    if (piece.text || piece.tools) this.endThinking();
    if (piece.text) message.text += piece.text;
    for (const delta of piece.tools ?? []) addToolDelta((message.toolCalls ??= []), delta);
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    this.endThinking();
  }

  private endThinking(): void {
    if (this.thinkingSince) this.one.message.thoughtFor = (performance.now() - this.thinkingSince) / 1000;
    this.thinkingSince = 0;
  }

  private draw(): void {
    this.frame = 0;
    const seconds = (performance.now() - this.began) / 1000;
    if (seconds > 0.5) this.one.rate.value = this.count / seconds;
    this.one.count.value = this.count;
    this.one.tick.value += 1;
  }
}

function addToolDelta(calls: ToolCall[], delta: ToolDelta): void {
  const call = (calls[delta.index] ??= { id: "", name: "", arguments: "" });
  if (delta.id) call.id = delta.id;
  if (delta.function?.name) call.name += delta.function.name;
  if (delta.function?.arguments) call.arguments += delta.function.arguments;
}
