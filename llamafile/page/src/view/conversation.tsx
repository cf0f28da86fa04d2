// The messages of the open chat; it follows a growing answer while the reader is at its end.
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { children, openChat, path } from "../history";
import { live } from "../turn";
import { Icon } from "./icons";
import { MessageView } from "./message";

const AT_END = 40; // pixels above the end that still count as the end
const NEAR = 6; // messages at the end that are drawn in full at once
const away = signal(false);

export function Conversation() {
  const frame = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const messages = path.value;
  const last = messages.at(-1);

  const toEnd = () => {
    following.current = true;
    away.value = false;
    const element = frame.current;
    if (element) element.scrollTop = element.scrollHeight;
  };

  useLayoutEffect(() => {
    const element = frame.current!;
    let before = element.scrollTop;
    const onScroll = () => {
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END;
      if (atEnd) following.current = true;
      else if (element.scrollTop < before) following.current = false; // only a reader scrolls up
      before = element.scrollTop;
      away.value = !following.current;
    };
    const watcher = new ResizeObserver(() => following.current && toEnd());
    watcher.observe(inner.current!);
    watcher.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      watcher.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, []);

  useLayoutEffect(() => {
    if (last?.role === "user" || last?.status === "live") toEnd(); // the reader has just sent something
  }, [last?.id]);

  const writing = openChat.value ? live.value.get(openChat.value) : undefined;
  return (
    <section class="conversation" ref={frame} aria-label="Messages" tabIndex={-1}>
      <div class="column" ref={inner}>
        {messages.map((message, index) => (
          <MessageView
            key={message.id}
            message={message}
            siblings={children.value.get(message.parent) ?? ALONE}
            live={writing?.message.id === message.id ? writing : undefined}
            results={message.role === "assistant" && messages[index + 1]?.role === "tool"}
            last={index === messages.length - 1}
            near={index >= messages.length - NEAR}
            busy={writing !== undefined}
          />
        ))}
      </div>
      {away.value && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" />
          Newest
        </button>
      )}
    </section>
  );
}

const ALONE: never[] = [];
