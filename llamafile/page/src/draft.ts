// The message being written: one draft a chat, kept across reloads; text in localStorage, files in IndexedDB.
import { computed, signal } from "@preact/signals";
import { attach, AttachError } from "./attach";
import { openChat } from "./history";
import { served } from "./server";
import { keep, kept } from "./settings";
import * as store from "./store";
import { say } from "./toasts";
import type { Attachment } from "./types";

interface Draft {
  text: string;
  attachments: Attachment[];
}

const drafts = signal<ReadonlyMap<string, Draft>>(new Map());
const EMPTY: Draft = { text: "", attachments: [] };

const place = computed(() => openChat.value ?? "new");
export const draft = computed(() => drafts.value.get(place.value) ?? EMPTY);

/** Read what was left unsent in the open chat. */
export async function openDraft(): Promise<void> {
  const at = place.value;
  if (drafts.value.has(at)) return;
  set(at, { text: kept(`draft-${at}`) ?? "", attachments: [] });
  const attachments = await store.draftAttachments(at);
  if (attachments.length) set(at, { ...(drafts.value.get(at) ?? EMPTY), attachments });
}

function set(at: string, value: Draft): void {
  drafts.value = new Map(drafts.value).set(at, value);
}

export function write(text: string): void {
  set(place.value, { ...draft.value, text });
  keep(`draft-${place.value}`, text);
}

function setAttachments(attachments: Attachment[]): void {
  set(place.value, { ...draft.value, attachments });
  void store.keepDraftAttachments(place.value, attachments);
}

export function dropAttachment(index: number): void {
  setAttachments(draft.value.attachments.filter((_, at) => at !== index));
}

/** Add files to the message; one that cannot be used is named in a notice. */
export async function addFiles(files: readonly File[]): Promise<void> {
  for (const file of files) {
    try {
      const read = await attach(file, served.value?.vision ?? false);
      setAttachments([...draft.value.attachments, read]);
    } catch (problem) {
      if (!(problem instanceof AttachError)) throw problem;
      say(problem.message, { tone: "error" });
    }
  }
}

/** Put a draft back that could not be sent. */
export function restore(taken: Draft): void {
  write(taken.text);
  setAttachments(taken.attachments);
}

/** Take the draft away, because it is being sent. */
export function take(): Draft {
  const taken = draft.value;
  write("");
  setAttachments([]);
  return taken;
}
