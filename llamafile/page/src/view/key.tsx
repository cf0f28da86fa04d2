// Asks for the API key when the server wants one.
import { useState } from "preact/hooks";
import { state, watch } from "../server";
import { apiKey, changeKey } from "../settings";
import { Modal } from "./modal";

export function KeyDialog() {
  const [key, setKey] = useState(apiKey.value);
  const [refused, setRefused] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    changeKey(key);
    await watch();
    setRefused(state.value === "locked");
  };
  return (
    <Modal title="This server asks for a key" onClose={() => state.value === "locked" && (state.value = "unknown")}>
      <form class="form" onSubmit={submit}>
        <p>Whoever started the server set an API key. It is kept in this browser only.</p>
        <label class="field">
          <span>API key</span>
          <input
            type="password"
            autofocus
            autocomplete="off"
            value={key}
            aria-invalid={refused}
            aria-describedby={refused ? "key-error" : undefined}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        {refused && (
          <p class="error-text" id="key-error" role="alert">
            The server did not accept this key.
          </p>
        )}
        <div class="actions">
          <button type="submit" class="primary" disabled={!key.trim()}>
            Unlock
          </button>
        </div>
      </form>
    </Modal>
  );
}
