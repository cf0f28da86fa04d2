// Makes the body of a request from the branch that is shown, the instructions and the settings.
import type { Message, ServerProps, Settings } from "./types";

type Part = { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };

const NUMBERS = [
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "repeat_penalty",
  "presence_penalty",
  "frequency_penalty",
  "max_tokens",
  "seed",
] as const;

export function asRequest(path: Message[], system: string, settings: Settings, served: ServerProps | null): object {
  const body: Record<string, unknown> = {
    model: served?.model ?? "",
    messages: [...(system.trim() ? [{ role: "system", content: system }] : []), ...path.map(asTurn)],
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
    cache_prompt: true,
  };
  for (const name of NUMBERS) if (settings[name] !== null) body[name] = settings[name];
  if (settings.thinking !== "default") {
    body["chat_template_kwargs"] = { enable_thinking: settings.thinking === "on" };
  }
  if (settings.tools.trim()) body["tools"] = JSON.parse(settings.tools);
  return body;
}

function asTurn(message: Message): object {
  if (message.role === "tool") return { role: "tool", tool_call_id: message.toolCallId, content: message.text };
  if (message.role === "user") return { role: "user", content: asContent(message) };
  if (!message.toolCalls?.length) return { role: "assistant", content: message.text };
  const calls = message.toolCalls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  return { role: "assistant", content: message.text, tool_calls: calls };
}

/** Plain text where there is no image: every template understands it. */
function asContent(message: Message): string | Part[] {
  const files = message.attachments ?? [];
  const texts = files.filter((file) => file.kind === "text").map((file) => `File ${file.name}:\n${fenced(file.data)}`);
  const text = [...texts, message.text].join("\n\n");
  const images = files.filter((file) => file.kind === "image");
  if (!images.length) return text;
  return [
    ...images.map((image): Part => ({ type: "image_url", image_url: { url: image.data } })),
    { type: "text", text },
  ];
}

/** A fence longer than any in the text, so that the text cannot end it. */
function fenced(text: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`{3,}/g), (run) => run[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}${text.endsWith("\n") ? "" : "\n"}${fence}`;
}
