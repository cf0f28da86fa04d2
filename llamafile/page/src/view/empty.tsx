// What a new chat shows: a greeting and a few things to try.
import { served, state } from "../server";
import { send } from "../turn";

const HERE = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
const WHERE = HERE
  ? "It runs on this computer: nothing you write leaves it."
  : `It runs on ${location.hostname}: what you write goes there and nowhere else.`;

const SUGGESTIONS = [
  { title: "Explain something", text: "Explain why the sky is blue, in words a ten-year-old understands." },
  { title: "Help me write", text: "Write a short, friendly message asking a neighbour to keep the noise down at night." },
  { title: "Plan with me", text: "Plan a simple dinner for four with a shopping list." },
  { title: "Write some code", text: "Write a Python function that finds the most common words in a text file." },
];

export function Empty() {
  const model = served.value?.model;
  return (
    <section class="empty" aria-labelledby="greeting">
      <div class="empty-inner">
        <h2 id="greeting">What would you like to know?</h2>
        <p>
          Write a message below, and {model ? <strong>{model}</strong> : "the model"} answers. {WHERE}
        </p>
        <ul class="suggestions">
          {SUGGESTIONS.map(({ title, text }) => (
            <li key={title}>
              <button type="button" disabled={state.value !== "up"} onClick={() => void send(text)}>
                <strong>{title}</strong>
                <span>{text}</span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
