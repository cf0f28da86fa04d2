// The tools that the model asks to be called, with boxes for what they answered: this page runs none of them itself.
import { useState } from "preact/hooks";
import { giveResults } from "../turn";
import type { Message, ToolCall } from "../types";
import { Icon } from "./icons";

export function ToolCalls({ message, answered }: { message: Message; answered: boolean }) {
  const calls = message.toolCalls!;
  const [results, setResults] = useState<string[]>([]);
  const change = (index: number, text: string) => {
    const next = calls.map((_, at) => results[at] ?? "");
    next[index] = text;
    setResults(next);
  };
  return (
    <div class="calls">
      {calls.map((call, index) => (
        <section class="call" key={index} aria-label={`Tool call ${call.name}`}>
          <details class="fold" open={!answered}>
            <summary>
              <Icon name="tool" />
              Asks for the tool <code>{call.name}</code>
            </summary>
            <pre tabIndex={0}>{pretty(call)}</pre>
          </details>
          {!answered && (
            <label class="field">
              <span>What the tool answered</span>
              <textarea
                rows={2}
                value={results[index] ?? ""}
                onInput={(event) => change(index, event.currentTarget.value)}
              />
            </label>
          )}
        </section>
      ))}
      {!answered && (
        <div class="actions">
          <button
            type="button"
            class="primary"
            disabled={!calls.every((_, index) => results[index]?.trim())}
            onClick={() => void giveResults(message, results)}
          >
            Send to the model
          </button>
        </div>
      )}
    </div>
  );
}

function pretty(call: ToolCall): string {
  try {
    return JSON.stringify(JSON.parse(call.arguments), null, 2);
  } catch {
    return call.arguments; // not whole yet, or never
  }
}
