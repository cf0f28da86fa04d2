// Where the user writes: a growing box, files, send or stop, and how full the context is.
import { useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { addFiles, draft, dropAttachment, openDraft, restore, take, write } from "../draft";
import { openChat, path } from "../history";
import { editing, fingers } from "../screen";
import { served, state } from "../server";
import { say } from "../toasts";
import { live, send, stop } from "../turn";
import { grow } from "./editor";
import { Icon, IconButton } from "./icons";
import { Meter } from "./meter";

export function Composer() {
  const area = useRef<HTMLTextAreaElement>(null);
  const { text, attachments } = draft.value;
  const writing = openChat.value !== null && live.value.has(openChat.value);
  const sendable = (text.trim() !== "" || attachments.length > 0) && !writing && state.value !== "away";

  useSignalEffect(() => {
    openChat.value; // each chat has a draft of its own
    void openDraft();
  });
  useLayoutEffect(() => grow(area.current!), [text]);
  useEffect(() => {
    if (!fingers.matches) area.current!.focus();
  }, [openChat.value]);

  const submit = () => {
    if (!sendable) return;
    const taken = take();
    send(taken.text.trim(), taken.attachments).catch((problem: unknown) => {
      restore(taken);
      say("The message could not be kept by this browser. Is its storage full or blocked?", { tone: "error" });
      console.error(problem);
    });
    area.current!.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return; // Enter ends a word of an input method
    if (event.key === "Enter" && !event.shiftKey && !fingers.matches) {
      event.preventDefault();
      submit();
    } else if (event.key === "ArrowUp" && !text && !writing) {
      const last = path.value.findLast((message) => message.role === "user");
      if (!last) return;
      event.preventDefault();
      editing.value = last.id;
    }
  };
  const onPaste = (event: ClipboardEvent) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    void addFiles(files);
  };

  return (
    <div class="composer-place">
      <form
        class="composer"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        {attachments.length > 0 && (
          <ul class="chips" aria-label="Files to send">
            {attachments.map((file, index) => (
              <li key={index} class="chip">
                {file.kind === "image" ? <img src={file.data} alt="" /> : <Icon name="file" />}
                <span>{file.name}</span>
                <IconButton icon="close" label={`Remove ${file.name}`} onClick={() => dropAttachment(index)} />
              </li>
            ))}
          </ul>
        )}
        <textarea
          id="composer"
          ref={area}
          rows={1}
          placeholder="Write a message"
          aria-label="Your message"
          dir="auto"
          enterkeyhint={fingers.matches ? "enter" : "send"}
          value={text}
          onInput={(event) => write(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        <div class="composer-bar">
          <FileButton icon="attach" label="Add text files" accept="" />
          {served.value?.vision && <FileButton icon="image" label="Add images" accept="image/*" />}
          <Meter />
          {writing ? (
            <button type="button" class="send stop" aria-label="Stop" title="Stop (Esc)" onClick={() => stop()}>
              <Icon name="stop" />
            </button>
          ) : (
            <button type="submit" class="send" aria-label="Send" title="Send (Enter)" disabled={!sendable}>
              <Icon name="send" />
            </button>
          )}
        </div>
      </form>
      <p class="caution">Language models make mistakes. Check what matters.</p>
    </div>
  );
}

function FileButton({ icon, label, accept }: { icon: "attach" | "image"; label: string; accept: string }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton icon={icon} label={label} onClick={() => input.current!.click()} />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept={accept}
        data-for={icon}
        onChange={(event) => {
          const chosen = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = ""; // so that the same file can be chosen again
          void addFiles(chosen);
        }}
      />
    </>
  );
}
