// One message: what the user said, what the model answered with its thoughts and tool calls, or a tool's result.
import { Component } from "preact";
import { useState } from "preact/hooks";
import { copy } from "../clipboard";
import { editing, focusComposer } from "../screen";
import { showBranch } from "../history";
import { announce } from "../toasts";
import { goOn, type Live, regenerate, resend } from "../turn";
import type { Message } from "../types";
import { Editor } from "./editor";
import { Icon, IconButton } from "./icons";
import { Markdown } from "./markdown";
import { Reasoning } from "./reasoning";
import { ToolCalls } from "./tools";

interface Props {
  message: Message;
  siblings: readonly Message[];
  live: Live | undefined;
  results: boolean; // the tool calls in it have been answered
  last: boolean;
  near: boolean; // to the end of the chat, when first drawn
  busy: boolean; // an answer is being written in this chat
}

/** Drawn again only when something it shows has changed: a chat has hundreds of these. */
export class MessageView extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const now = this.props;
    return (
      next.message !== now.message ||
      next.live !== now.live ||
      next.results !== now.results ||
      next.last !== now.last ||
      next.busy !== now.busy ||
      next.siblings.length !== now.siblings.length
    );
  }

  override render({ message, ...rest }: Props) {
    if (message.role === "user") return <Said message={message} {...rest} />;
    if (message.role === "tool") return <Result message={message} />;
    return <Answered message={message} {...rest} />;
  }
}

function Said({ message, siblings, busy, last }: Props) {
  const changing = editing.value === message.id;
  const files = message.attachments ?? [];
  return (
    <article class={`message said ${last ? "last" : ""}`} aria-label="You">
      {files.length > 0 && (
        <ul class="files" aria-label="Files">
          {files.map((file, index) => (
            <li key={index}>
              {file.kind === "image" ? (
                <img src={file.data} alt={file.name} />
              ) : (
                <details class="file">
                  <summary>
                    <Icon name="file" />
                    {file.name}
                  </summary>
                  <pre>{file.data}</pre>
                </details>
              )}
            </li>
          ))}
        </ul>
      )}
      {changing ? (
        <Editor
          text={message.text}
          onCancel={endEditing}
          onSave={(text) => {
            endEditing();
            void resend(message, text);
          }}
        />
      ) : (
        message.text && <div class="bubble" dir="auto">{message.text}</div>
      )}
      {!changing && (
        <div class="tools" role="group" aria-label="About your message">
          <Branches message={message} siblings={siblings} busy={busy} />
          <CopyButton text={() => message.text} />
          <IconButton icon="edit" label="Edit" disabled={busy} onClick={() => (editing.value = message.id)} />
        </div>
      )}
    </article>
  );
}

function endEditing(): void {
  editing.value = null;
  focusComposer();
}

function Answered({ message, siblings, live, results, last, near, busy }: Props) {
  live?.tick.value; // drawn again as it grows; the text itself grows in Markdown, outside of this
  const elsewhere = message.status === "live" && !live;
  const more = last && !busy && message.text && !message.toolCalls?.length && (
    <button type="button" class="text-button" onClick={() => void goOn(message)}>
      Go on
    </button>
  );
  const empty = !message.text && !message.reasoning && !message.toolCalls?.length;
  return (
    <article class={`message answered ${last ? "last" : ""}`} aria-label="Answer" aria-busy={live !== undefined}>
      {message.reasoning && (
        <Reasoning text={message.reasoning} seconds={message.thoughtFor} thinking={live !== undefined && !message.text} />
      )}
      <Markdown text={message.text} live={live} near={near} />
      {live && <Waiting live={live} empty={empty} />}
      {message.toolCalls && message.toolCalls.length > 0 && (
        <ToolCalls message={message} answered={results || live !== undefined} />
      )}
      {elsewhere && <p class="aside">This answer is being written in another tab.</p>}
      {message.status === "stopped" && (
        <p class="aside">
          {empty ? "Stopped before it began." : "Stopped."} {more}
        </p>
      )}
      {message.limited && message.status === "done" && (
        <p class="aside">The answer ended at the limit of its length. {more}</p>
      )}
      {message.failure && (
        <div class="failure" role="alert">
          <p>{message.failure.text}</p>
          {more}
          <button type="button" disabled={busy} onClick={() => regenerate(message)}>
            Try again
          </button>
        </div>
      )}
      {!live && !elsewhere && (
        <div class="tools" role="group" aria-label="About this answer">
          <Branches message={message} siblings={siblings} busy={busy} />
          <CopyButton text={() => message.text} />
          <IconButton icon="again" label="Answer again" disabled={busy} onClick={() => regenerate(message)} />
          <Speed message={message} />
        </div>
      )}
    </article>
  );
}

/** What there is to see before the first word: how far the prompt has been read. */
function Waiting({ live, empty }: { live: Live; empty: boolean }) {
  if (!empty) return null;
  const part = live.progress.value;
  const percent = part === null ? null : Math.round(part * 100);
  return (
    <div class="waiting">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {percent !== null && percent < 100 && (
        <>
          <span>Reading… {percent}%</span>
          <progress max={100} value={percent} aria-label="Reading your message" />
        </>
      )}
    </div>
  );
}

function Speed({ message }: { message: Message }) {
  const { stats } = message;
  if (!stats || !stats.predicted) return null;
  const speed = stats.perSecond >= 10 ? stats.perSecond.toFixed(0) : stats.perSecond.toFixed(1);
  return (
    <span class="speed">
      {speed} tokens/s<span class="wide"> · {stats.predicted.toLocaleString()} tokens in {stats.seconds.toFixed(1)} s</span>
    </span>
  );
}

function Branches({ message, siblings, busy }: { message: Message; siblings: readonly Message[]; busy: boolean }) {
  if (siblings.length < 2) return null;
  const at = siblings.findIndex((one) => one.id === message.id);
  const go = (step: number) => {
    const next = siblings[at + step];
    if (next) void showBranch(next.id);
  };
  return (
    <span class="branches" role="group" aria-label="Versions">
      <IconButton icon="left" label="Earlier version" disabled={busy || at <= 0} onClick={() => go(-1)} />
      <span>
        <span class="offscreen">Version </span>
        {at + 1}/{siblings.length}
      </span>
      <IconButton icon="right" label="Later version" disabled={busy || at >= siblings.length - 1} onClick={() => go(1)} />
    </span>
  );
}

function CopyButton({ text }: { text: () => string }) {
  const [copied, setCopied] = useState(false);
  const act = async () => {
    if (!(await copy(text()))) return;
    announce("Copied");
    setCopied(true);
    setTimeout(() => setCopied(false), 1600);
  };
  return <IconButton icon={copied ? "check" : "copy"} label="Copy" onClick={() => void act()} />;
}

function Result({ message }: { message: Message }) {
  return (
    <article class="message result" aria-label="Result of a tool">
      <details class="fold">
        <summary>Result of the tool</summary>
        <pre tabIndex={0}>{message.text}</pre>
      </details>
    </article>
  );
}
