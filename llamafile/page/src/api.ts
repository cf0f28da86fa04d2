// The server's HTTP interface as the page uses it; addresses are relative, so a path prefix before them works too.
import { createParser } from "eventsource-parser";
import { apiKey } from "./settings";
import type { Failure, ServerProps, Stats } from "./types";

/** What went wrong, in words for the user. */
export class RequestError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.text);
  }
}

export interface ToolDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

/** One event of a streamed answer. */
export interface Piece {
  text?: string;
  reasoning?: string;
  tools?: ToolDelta[];
  progress?: number; // 0 to 1: how much of the prompt has been read
  finish?: string;
  stats?: Stats;
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (apiKey.value) headers.set("Authorization", `Bearer ${apiKey.value}`);
  if (init.body) headers.set("Content-Type", "application/json");
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (problem) {
    if (init.signal?.aborted) throw problem;
    throw new RequestError({ kind: "away", text: "The server does not answer. Your text is kept." });
  }
  if (!response.ok) throw new RequestError(await failureOf(response));
  return response;
}

async function failureOf(response: Response): Promise<Failure> {
  let error: ServerError = {};
  try {
    error = ((await response.json()) as { error?: ServerError }).error ?? {};
  } catch {
    // no JSON: the status says enough
  }
  return describe(error, response.status);
}

interface ServerError {
  message?: string;
  type?: string;
  code?: number;
  n_prompt_tokens?: number;
  n_ctx?: number;
}

function describe(error: ServerError, status: number): Failure {
  if (status === 401 || status === 403) return { kind: "locked", text: "The server asks for an API key." };
  if (error.type === "exceed_context_size_error") {
    const sizes = error.n_prompt_tokens && error.n_ctx ? ` (${error.n_prompt_tokens} of ${error.n_ctx} tokens)` : "";
    return {
      kind: "context",
      text: `This chat has grown longer than the model can hold in mind${sizes}. Start a new chat, or shorten an earlier message.`,
    };
  }
  if (status === 503) return { kind: "loading", text: error.message ?? "The model is not ready yet." };
  return { kind: "refused", text: error.message ?? `The server answered with an error (${status}).` };
}

/** Whether the server is there: "up", "loading", "away". */
export async function health(): Promise<"up" | "loading" | "away"> {
  try {
    const response = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(4000) });
    return response.ok ? "up" : response.status === 503 ? "loading" : "away";
  } catch {
    return "away";
  }
}

/** What model is served, and what it can do. */
export async function props(): Promise<ServerProps> {
  const [found, list] = await Promise.all([
    request("props").then((r) => r.json() as Promise<Record<string, any>>),
    request("v1/models").then((r) => r.json() as Promise<{ data?: { id?: string }[] }>),
  ]);
  const generation = found["default_generation_settings"] ?? {};
  return {
    context: positive(generation["n_ctx"]),
    vision: found["modalities"]?.["vision"] === true,
    model: modelName(String(found["model_alias"] || list.data?.[0]?.id || found["model_path"] || "model")),
    defaults: generation["params"] ?? {},
  };
}

function positive(value: unknown): number | null {
  return typeof value === "number" && value > 0 ? value : null;
}

function modelName(path: string): string {
  return path.replace(/^.*[\\/]/, "").replace(/\.(gguf|llamafile)$/i, "");
}

/** How many tokens a text has. */
export async function countTokens(text: string, signal: AbortSignal): Promise<number> {
  const response = await request("tokenize", { method: "POST", body: JSON.stringify({ content: text }), signal });
  return ((await response.json()) as { tokens: unknown[] }).tokens.length;
}

/** Ask for an answer and call heard for each of its pieces, until it ends. Raises RequestError. */
export async function streamAnswer(body: object, signal: AbortSignal, heard: (piece: Piece) => void): Promise<void> {
  const response = await request("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  let ended = false;
  let refused: Failure | undefined;
  const parser = createParser({
    onEvent({ data }) {
      if (data === "[DONE]") {
        ended = true;
        return;
      }
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) refused = describe(chunk.error, chunk.error.code ?? 500);
      else heard(pieceOf(chunk));
    },
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let part = await reader.read(); !part.done && !refused; part = await reader.read()) parser.feed(part.value);
  } catch (problem) {
    if (signal.aborted) throw problem;
    throw new RequestError({ kind: "cut", text: "The connection to the server was lost before the answer was complete." });
  }
  if (refused) throw new RequestError(refused);
  if (!ended) throw new RequestError({ kind: "cut", text: "The server ended before the answer was complete." });
}

interface Chunk {
  error?: ServerError;
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null; tool_calls?: ToolDelta[] };
    finish_reason?: string | null;
  }[];
  timings?: Record<string, number>;
  prompt_progress?: { total: number; processed: number; cache?: number };
}

function pieceOf(chunk: Chunk): Piece {
  const choice = chunk.choices?.[0];
  const piece: Piece = {};
  if (choice?.delta?.content) piece.text = choice.delta.content;
  if (choice?.delta?.reasoning_content) piece.reasoning = choice.delta.reasoning_content;
  if (choice?.delta?.tool_calls?.length) piece.tools = choice.delta.tool_calls;
  if (choice?.finish_reason) piece.finish = choice.finish_reason;
  if (chunk.prompt_progress && chunk.prompt_progress.total > 0) {
    piece.progress = chunk.prompt_progress.processed / chunk.prompt_progress.total;
  }
  const times = chunk.timings;
  if (times) {
    piece.stats = {
      predicted: times["predicted_n"] ?? 0,
      perSecond: times["predicted_per_second"] ?? 0,
      seconds: (times["predicted_ms"] ?? 0) / 1000,
      used: (times["cache_n"] ?? 0) + (times["prompt_n"] ?? 0) + (times["predicted_n"] ?? 0),
    };
  }
  return piece;
}
