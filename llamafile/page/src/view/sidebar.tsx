// The list of chats: new, search, rename, export, delete; import and settings at its foot.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { chats, openChat, refreshChats, rename, remove, show } from "../history";
import { dialog, drawer, focusComposer, newChat, query } from "../screen";
import { search } from "../store";
import { say } from "../toasts";
import { download, exportText, ImportError, importText } from "../transfer";
import { changeTheme, sidebarOpen, theme, type Theme } from "../settings";
import { live } from "../turn";
import type { Chat } from "../types";
import { Icon, IconButton, type IconName } from "./icons";

const found = signal<ReadonlyMap<string, string> | null>(null); // chat → passage, while something is searched for
const renaming = signal<string | null>(null);

export function Sidebar() {
  useSearch();
  const wanted = query.value.trim().toLocaleLowerCase();
  const shown = wanted
    ? chats.value.filter((chat) => chat.title.toLocaleLowerCase().includes(wanted) || found.value?.has(chat.id))
    : chats.value;
  return (
    <>
      {drawer.value && <div class="scrim" onClick={() => (drawer.value = false)} />}
      <nav id="side" class="side" aria-label="Chats" inert={!sidebarOpen.value && !drawer.value}>
        <div class="brand">
          <img src="icon.svg" alt="" width="24" height="24" />
          <span>llamafile</span>
        </div>
        <button type="button" id="new-chat" class="new-chat" onClick={() => void newChat()}>
          <Icon name="new" />
          New chat
        </button>
        <label class="search">
          <Icon name="search" />
          <input
            id="search"
            type="search"
            placeholder="Search"
            aria-label="Search chats"
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
          />
        </label>
        <div class="chats">
          {groups(shown).map(([name, list]) => (
            <section key={name} aria-label={name}>
              <h2>{name}</h2>
              <ul>
                {list.map((chat) => (
                  <ChatRow key={chat.id} chat={chat} passage={wanted ? found.value?.get(chat.id) : undefined} />
                ))}
              </ul>
            </section>
          ))}
          {wanted && !shown.length && <p class="aside">No chat has these words.</p>}
          {!wanted && !shown.length && <p class="aside">Your chats will be listed here. They stay in this browser.</p>}
        </div>
        <Foot />
      </nav>
    </>
  );
}

function useSearch(): void {
  const words = query.value.trim();
  const all = chats.value;
  useEffect(() => {
    if (!words) {
      found.value = null;
      return undefined;
    }
    let wanted = true;
    const timer = setTimeout(async () => {
      const result = await search(words);
      if (wanted) found.value = result;
    }, 120);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [words, all]);
}

function ChatRow({ chat, passage }: { chat: Chat; passage: string | undefined }) {
  const open = chat.id === openChat.value;
  if (renaming.value === chat.id) return <RenameRow chat={chat} />;
  const save = async () => download(`${fileName(chat.title)}.json`, await exportText(chat.id));
  return (
    <li class={`row ${open ? "open" : ""}`}>
      <a
        href={`#/chat/${chat.id}`}
        aria-current={open ? "page" : undefined}
        onClick={(event) => {
          event.preventDefault();
          drawer.value = false;
          void show(chat.id);
        }}
      >
        <span class="row-title">{chat.title}</span>
        {passage && <span class="passage">{passage}</span>}
        {live.value.has(chat.id) && <span class="busy" role="img" aria-label="An answer is being written" />}
      </a>
      <span class="row-tools">
        <IconButton icon="edit" label={`Rename ${chat.title}`} onClick={() => (renaming.value = chat.id)} />
        <IconButton icon="export" label={`Export ${chat.title}`} onClick={() => void save()} />
        <IconButton icon="trash" label={`Delete ${chat.title}`} onClick={() => void removeRow(chat)} />
      </span>
    </li>
  );
}

async function removeRow(chat: Chat): Promise<void> {
  await remove([chat.id]);
  focusComposer(); // the button that had the focus is gone
}

function RenameRow({ chat }: { chat: Chat }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current!.select(), []);
  const finish = (keep: boolean) => {
    if (renaming.value !== chat.id) return; // Escape has ended it; the blur that follows changes nothing
    renaming.value = null;
    if (keep) void rename(chat.id, input.current!.value);
  };
  return (
    <li class="row">
      <input
        ref={input}
        class="rename"
        aria-label="Name of the chat"
        defaultValue={chat.title}
        onBlur={() => finish(true)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" && event.key !== "Escape") return;
          event.preventDefault();
          finish(event.key === "Enter");
        }}
      />
    </li>
  );
}

const THEMES: Record<Theme, { next: Theme; icon: IconName; label: string }> = {
  system: { next: "light", icon: "screen", label: "Colours: as the system" },
  light: { next: "dark", icon: "sun", label: "Colours: light" },
  dark: { next: "system", icon: "moon", label: "Colours: dark" },
};

function Foot() {
  const input = useRef<HTMLInputElement>(null);
  const look = THEMES[theme.value];
  return (
    <div class="foot">
      <IconButton icon="settings" label="Settings" onClick={() => (dialog.value = "settings")} />
      <IconButton icon={look.icon} label={look.label} onClick={() => changeTheme(look.next)} />
      <IconButton icon="keys" label="Keyboard shortcuts" onClick={() => (dialog.value = "shortcuts")} class="wide" />
      <span class="gap" />
      <IconButton icon="import" label="Import chats" onClick={() => input.current!.click()} />
      <IconButton
        icon="export"
        label="Export all chats"
        disabled={!chats.value.length}
        onClick={async () => download("llamafile-chats.json", await exportText())}
      />
      <input
        ref={input}
        type="file"
        accept=".json,application/json"
        hidden
        data-for="import"
        onChange={async (event) => {
          const file = event.currentTarget.files?.[0];
          event.currentTarget.value = "";
          if (file) await readImport(file);
        }}
      />
    </div>
  );
}

async function readImport(file: File): Promise<void> {
  try {
    const count = await importText(await file.text());
    await refreshChats();
    say(count === 1 ? "1 chat imported" : `${count} chats imported`);
  } catch (problem) {
    if (!(problem instanceof ImportError)) throw problem;
    say(`${file.name}: ${problem.message}`, { tone: "error" });
  }
}

function fileName(title: string): string {
  return title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 50) || "chat";
}

const DAY = 86_400_000;

function groups(list: readonly Chat[]): [string, Chat[]][] {
  const today = new Date().setHours(0, 0, 0, 0);
  const named: [string, Chat[]][] = [
    ["Today", []],
    ["Yesterday", []],
    ["The week before", []],
    ["Earlier", []],
  ];
  for (const chat of list) {
    const age = today - chat.updated;
    named[age <= 0 ? 0 : age <= DAY ? 1 : age <= 7 * DAY ? 2 : 3]![1].push(chat);
  }
  return named.filter(([, members]) => members.length);
}
