// A Markdown text as an element; far from the screen it is plain text, so a chat of hundreds of messages opens at once.
import { useLayoutEffect, useRef } from "preact/hooks";
import { GrowingText } from "../text/growing";
import type { Live } from "../turn";

const NEAR = "1200px 0px"; // how far from the screen texts are made ready

const waiting = new WeakMap<Element, () => void>();
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      waiting.get(target)?.();
    }
  },
  { rootMargin: NEAR },
);

interface Props {
  text: string;
  live: Live | undefined; // grows by itself, without being drawn again from here
  near: boolean; // to the end of the chat, where the reader begins
}

export function Markdown({ text, live, near }: Props) {
  const element = useRef<HTMLDivElement>(null);
  const growing = useRef<GrowingText | null>(null);

  useLayoutEffect(() => {
    if (live) return undefined;
    const root = element.current!;
    const show = () => {
      growing.current ??= new GrowingText(root);
      growing.current.update(text, true);
    };
    if (growing.current || near) {
      show();
      return undefined;
    }
    root.textContent = text;
    root.classList.add("unready");
    waiting.set(root, () => {
      root.classList.remove("unready");
      root.textContent = "";
      show();
    });
    observer.observe(root);
    return () => observer.unobserve(root);
  }, [live ? "" : text, live]);

  useLayoutEffect(() => {
    if (!live) return undefined;
    growing.current ??= new GrowingText(element.current!);
    const shown = growing.current;
    let due = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const draw = () => {
      const began = performance.now();
      shown.update(live.message.text, false);
      setTimeout(() => (due = performance.now() + 2 * (performance.now() - began))); // style, layout and paint counted in
    };
    const stop = live.tick.subscribe(() => {
      clearTimeout(timer);
      const wait = due - performance.now();
      if (wait <= 0) draw();
      else timer = setTimeout(draw, wait);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [live]);

  return <div class="markdown" ref={element} />;
}
