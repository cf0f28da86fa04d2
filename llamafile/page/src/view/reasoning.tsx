// What the model thought before it answered, folded away.
import { Icon } from "./icons";

interface Props {
  text: string;
  seconds: number | undefined;
  thinking: boolean;
}

export function Reasoning({ text, seconds, thinking }: Props) {
  const words = thinking ? "Thinking…" : seconds ? `Thought for ${duration(seconds)}` : "Thoughts";
  return (
    <details class={`fold reasoning ${thinking ? "thinking" : ""}`}>
      <summary>
        {words}
        <Icon name="right" />
      </summary>
      <div class="thoughts" tabIndex={0}>
        {text}
      </div>
    </details>
  );
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
