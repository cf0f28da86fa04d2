// Short notices at the foot of the page.
import { dismiss, toasts } from "../toasts";
import { IconButton } from "./icons";

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast ${toast.tone}`}>
          <span>{toast.text}</span>
          {toast.action && (
            <button type="button" class="text-button" onClick={() => dismiss(toast.id, true)}>
              {toast.action}
            </button>
          )}
          <IconButton icon="close" label="Close this notice" onClick={() => dismiss(toast.id)} />
        </div>
      ))}
    </div>
  );
}
