// How fast the answer comes, and how much of what the model can hold in mind is used.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { countTokens } from "../api";
import { draft } from "../draft";
import { openChat, path } from "../history";
import { served } from "../server";
import { live } from "../turn";

const WORTH_COUNTING = 200; // characters of a draft; fewer do not move the needle
const drafted = signal(0); // tokens in the draft

export function Meter() {
  useCount();
  const context = served.value?.context;
  const writing = openChat.value ? live.value.get(openChat.value) : undefined;
  const rate = writing?.rate.value;
  const before = path.value.findLast((message) => message.stats && message !== writing?.message)?.stats?.used ?? 0;
  const used = before + (writing?.count.value ?? 0) + drafted.value;
  const part = context ? Math.min(1, used / context) : 0;
  return (
    <div class="meter">
      {rate ? <span class="rate">{rate.toFixed(rate < 10 ? 1 : 0)} tokens/s</span> : null}
      {context && used > 0 ? (
        <span
          class={`context ${part > 0.9 ? "full" : ""}`}
          title={`${used.toLocaleString()} of ${context.toLocaleString()} tokens: how much of this chat the model can hold in mind`}
        >
          <svg viewBox="0 0 20 20" aria-hidden="true">
            <circle cx="10" cy="10" r="7.500" />
            <circle cx="10" cy="10" r="7.500" pathLength={100} stroke-dasharray={`${part * 100} 100`} />
          </svg>
          <span>
            {short(used)} of {short(context)}
            <span class="offscreen"> tokens in use</span>
          </span>
        </span>
      ) : null}
    </div>
  );
}

function short(count: number): string {
  return count < 1000 ? String(count) : `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)}k`;
}

/** Counts the tokens of a long draft, some time after the last change. */
function useCount(): void {
  const { text, attachments } = draft.value;
  const whole = [text, ...attachments.filter((file) => file.kind === "text").map((file) => file.data)].join("\n");
  useEffect(() => {
    if (whole.length < WORTH_COUNTING) {
      drafted.value = 0;
      return undefined;
    }
    const asked = new AbortController();
    const count = async () => {
      try {
        drafted.value = await countTokens(whole, asked.signal);
      } catch {
        drafted.value = 0; // a server that is away or cannot say: the meter shows what is known
      }
    };
    const timer = setTimeout(count, 500);
    return () => {
      clearTimeout(timer);
      asked.abort();
    };
  }, [whole]);
}
