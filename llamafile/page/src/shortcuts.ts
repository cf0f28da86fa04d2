// The keyboard: one table of shortcuts, from which the help is made too.
import { copy } from "./clipboard";
import { openChat, path, remove } from "./history";
import * as screen from "./screen";
import { announce } from "./toasts";
import { live, stop } from "./turn";

interface Shortcut {
  keys: string; // as shown; Ctrl is Command on a Mac
  does: string;
  code?: string; // KeyboardEvent.key with Ctrl and, where marked, Shift
  shift?: boolean;
  act?: () => void;
}

export const SHORTCUTS: readonly Shortcut[] = [
  { keys: "Enter", does: "Send the message" },
  { keys: "Shift Enter", does: "A new line" },
  { keys: "Esc", does: "Stop the answer" },
  { keys: "↑", does: "Edit your last message (in an empty box)" },
  { keys: "Ctrl Shift O", does: "New chat", code: "o", shift: true, act: () => void screen.newChat() },
  { keys: "Ctrl K", does: "Search chats", code: "k", act: screen.focusSearch },
  { keys: "Ctrl B", does: "Show or hide the list of chats", code: "b", act: screen.toggleChats },
  { keys: "Ctrl Shift L", does: "Go to the message box", code: "l", shift: true, act: screen.focusComposer },
  { keys: "Ctrl Shift Y", does: "Copy the last answer", code: "y", shift: true, act: () => void copyLast() },
  { keys: "Ctrl Shift ⌫", does: "Delete this chat", code: "backspace", shift: true, act: () => void removeShown() },
  { keys: "Ctrl ,", does: "Settings", code: ",", act: () => (screen.dialog.value = "settings") },
  { keys: "Ctrl /", does: "These shortcuts", code: "/", act: () => (screen.dialog.value = "shortcuts") },
];

async function copyLast(): Promise<void> {
  const last = path.value.findLast((message) => message.role === "assistant");
  if (last && (await copy(last.text))) announce("Answer copied");
}

async function removeShown(): Promise<void> {
  if (openChat.value) await remove([openChat.value]);
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") onEscape(event);
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const key = event.key.toLowerCase();
    const found = SHORTCUTS.find((one) => one.code === key && (one.shift ?? false) === event.shiftKey);
    if (!found?.act || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    found.act();
  });
}

function onEscape(event: KeyboardEvent): void {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (screen.drawer.value) screen.drawer.value = false;
  else if (openChat.value && live.value.has(openChat.value)) stop();
}
