// What the page keeps: chats, messages in a tree, settings; and what the server says about itself.

export interface Attachment {
  kind: "text" | "image";
  name: string;
  data: string; // the text itself, or a data: address of the image
}

export interface ToolCall {
  id: string;
  name: string;
  arguments: string; // JSON as the model wrote it, whole or not
}

export interface Stats {
  predicted: number; // tokens written
  perSecond: number;
  seconds: number;
  used: number; // tokens of the context in use after this answer
}

export type FailureKind = "away" | "cut" | "loading" | "locked" | "context" | "refused";

export interface Failure {
  kind: FailureKind;
  text: string;
}

export type Role = "user" | "assistant" | "tool";

export interface Message {
  id: string;
  chat: string;
  parent: string | null;
  role: Role;
  text: string;
  created: number; // milliseconds since 1970; orders siblings
  status: "done" | "live" | "stopped" | "failed";
  reasoning?: string;
  thoughtFor?: number; // seconds
  toolCalls?: ToolCall[];
  toolCallId?: string;
  attachments?: Attachment[];
  failure?: Failure;
  stats?: Stats;
  limited?: boolean; // the answer ended at the limit of tokens
  owner?: string; // the tab that writes it, while live
  touched?: number; // when that tab wrote last
}

export interface Chat {
  id: string;
  title: string;
  named: boolean; // by the user, so that it is not renamed after the first message
  created: number;
  updated: number;
  leaf: string | null;
  system: string | null; // null: the instructions of all chats
  deleted?: number;
}

export interface Settings {
  system: string;
  temperature: number | null;
  top_k: number | null;
  top_p: number | null;
  min_p: number | null;
  repeat_penalty: number | null;
  presence_penalty: number | null;
  frequency_penalty: number | null;
  max_tokens: number | null;
  seed: number | null;
  thinking: "default" | "on" | "off";
  tools: string; // JSON list of tools in OpenAI's form
}

export interface ServerProps {
  context: number | null;
  vision: boolean;
  model: string;
  defaults: Partial<Record<string, number>>;
}
