// The whole page: chats at the side, one of them in the middle, notices and dialogs above.
import { effect, useSignalEffect } from "@preact/signals";
import { current, loaded, openChat } from "../history";
import { dialog, drawer, isNarrow, toggleChats } from "../screen";
import * as server from "../server";
import { sidebarOpen } from "../settings";
import { spoken } from "../toasts";
import { Composer } from "./composer";
import { DropArea } from "./drop";
import { Empty } from "./empty";
import { IconButton } from "./icons";
import { Conversation } from "./conversation";
import { KeyDialog } from "./key";
import { SettingsDialog } from "./settings";
import { ShortcutsDialog } from "./shortcuts";
import { Sidebar } from "./sidebar";
import { Toasts } from "./toasts";

effect(() => {
  document.title = current.value ? `${current.value.title} – llamafile` : "llamafile";
});

export function Page() {
  useSignalEffect(() => {
    document.documentElement.classList.toggle("drawer", drawer.value);
  });
  return (
    <div class={`page ${sidebarOpen.value ? "" : "side-closed"}`}>
      <a class="skip" href="#composer" onClick={skip}>
        Go to the message box
      </a>
      <Sidebar />
      <main class="main">
        <Header />
        <Notice />
        {!loaded.value ? <div class="conversation" /> : openChat.value ? <Conversation key={openChat.value} /> : <Empty />}
        <Composer />
        <DropArea />
      </main>
      <Toasts />
      {dialog.value === "settings" && <SettingsDialog />}
      {dialog.value === "shortcuts" && <ShortcutsDialog />}
      {server.state.value === "locked" && <KeyDialog />}
      <div class="offscreen" role="status" aria-live="polite">
        {spoken}
      </div>
    </div>
  );
}

function skip(event: Event): void {
  event.preventDefault(); // the address names the chat
  document.getElementById("composer")?.focus();
}

function Header() {
  const model = server.served.value?.model;
  return (
    <header class="header">
      <IconButton
        icon="side"
        label="List of chats"
        onClick={toggleChats}
        controls="side"
        expanded={isNarrow() ? drawer.value : sidebarOpen.value}
      />
      <h1 class="title" dir="auto">{current.value?.title ?? "New chat"}</h1>
      {model && (
        <span class="model" title={`The model in use: ${model}`}>
          <span class={`dot ${server.state.value}`} aria-hidden="true" />
          <span class="model-name">{model}</span>
        </span>
      )}
    </header>
  );
}

/** Says that the server is away or busy loading, and that it is back. */
function Notice() {
  const state = server.state.value;
  const words =
    state === "away"
      ? "The model's server is not answering. Your chats are safe; trying again…"
      : state === "loading"
        ? "The model is being loaded…"
        : server.wasAway.value
          ? "Connected again."
          : "";
  return (
    <div class="notice-place" role="status" aria-live="polite">
      {words && <p class={`notice ${state}`}>{words}</p>}
    </div>
  );
}
