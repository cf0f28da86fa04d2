// The user's settings and the look of the page, kept in localStorage and followed by every open tab.
import { effect, signal } from "@preact/signals";
import type { Settings } from "./types";

export const DEFAULTS: Settings = {
  system: "",
  temperature: null,
  top_k: null,
  top_p: null,
  min_p: null,
  repeat_penalty: null,
  presence_penalty: null,
  frequency_penalty: null,
  max_tokens: null,
  seed: null,
  thinking: "default",
  tools: "",
};

export type Theme = "system" | "light" | "dark";

/** localStorage, which a browser may refuse; then the value lives as long as the tab. */
export function kept(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function keep(key: string, value: string): void {
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // refused or full: nothing else to do
  }
}

function readSettings(): Settings {
  try {
    const found = JSON.parse(kept("settings") ?? "{}") as Partial<Settings>;
    return { ...DEFAULTS, ...found };
  } catch {
    return DEFAULTS;
  }
}

export const settings = signal<Settings>(readSettings());
export const apiKey = signal(kept("api-key") ?? "");
export const theme = signal<Theme>((kept("theme") as Theme | null) ?? "system");
export const sidebarOpen = signal(kept("sidebar") !== "closed");

export function changeSettings(fields: Partial<Settings>): void {
  settings.value = { ...settings.value, ...fields };
  keep("settings", JSON.stringify(settings.value));
}

export function changeKey(key: string): void {
  apiKey.value = key.trim();
  keep("api-key", apiKey.value);
}

export function changeTheme(next: Theme): void {
  theme.value = next;
  keep("theme", next === "system" ? "" : next);
}

export function toggleSidebar(open = !sidebarOpen.value): void {
  sidebarOpen.value = open;
  keep("sidebar", open ? "" : "closed");
}

addEventListener("storage", (event) => {
  if (event.key === "settings") settings.value = readSettings();
  if (event.key === "theme") theme.value = (event.newValue as Theme | null) ?? "system";
  if (event.key === "api-key") apiKey.value = event.newValue ?? "";
});

effect(() => {
  if (theme.value === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
});
