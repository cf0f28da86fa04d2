// What is on screen besides chats: which dialog is open, what is searched for, where the keyboard goes.
import { signal } from "@preact/signals";
import { show } from "./history";
import { sidebarOpen, toggleSidebar } from "./settings";

export type Dialog = "settings" | "shortcuts";

export const dialog = signal<Dialog | null>(null);
export const query = signal("");
export const editing = signal<string | null>(null); // the message whose text is being changed
export const drawer = signal(false); // the list of chats on a narrow screen
export const fingers = matchMedia("(pointer: coarse)");
const narrow = matchMedia("(max-width: 760px)");

export function isNarrow(): boolean {
  return narrow.matches;
}

export function toggleChats(): void {
  if (!isNarrow()) toggleSidebar();
  else if (drawer.value) drawer.value = false;
  else openDrawer();
}

/** Not where it would bring up a keyboard on the screen. */
export function focusComposer(): void {
  if (!fingers.matches) document.getElementById("composer")?.focus();
}

function openDrawer(): void {
  drawer.value = true;
  requestAnimationFrame(() => document.getElementById("new-chat")?.focus());
}

export async function newChat(): Promise<void> {
  await show(null);
  drawer.value = false;
  focusComposer();
}

export function focusSearch(): void {
  const hidden = isNarrow() ? !drawer.value : !sidebarOpen.value;
  if (isNarrow()) drawer.value = true;
  else toggleSidebar(true);
  const focus = () => document.getElementById("search")?.focus();
  if (hidden) requestAnimationFrame(focus);
  else focus(); // at once: the next key belongs there
}
