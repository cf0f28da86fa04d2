// Short notices that go by themselves, some with one button.
import { signal } from "@preact/signals";

export interface Toast {
  id: number;
  text: string;
  tone: "plain" | "error";
  action?: string;
  act?: () => void;
  gone?: () => void; // called when it went without its button being used
}

export const toasts = signal<readonly Toast[]>([]);
export const spoken = signal(""); // what a screen reader is told

const SECONDS = 8;
let count = 0;

export function say(text: string, more: Partial<Omit<Toast, "id" | "text">> = {}): void {
  const toast: Toast = { id: ++count, text, tone: "plain", ...more };
  toasts.value = [...toasts.value.slice(-2), toast];
  setTimeout(() => dismiss(toast.id), SECONDS * 1000);
}

/** Take a notice away; used says that its button was pressed. */
export function dismiss(id: number, used = false): void {
  const toast = toasts.value.find((one) => one.id === id);
  if (!toast) return;
  toasts.value = toasts.value.filter((one) => one.id !== id);
  if (used) toast.act?.();
  else toast.gone?.();
}

/** Have a screen reader read something out. */
export function announce(text: string): void {
  spoken.value = text;
}
