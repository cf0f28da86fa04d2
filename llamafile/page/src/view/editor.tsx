// The box in which a sent message is changed.
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Props {
  text: string;
  onSave: (text: string) => void;
  onCancel: () => void;
}

export function Editor({ text, onSave, onCancel }: Props) {
  const [value, setValue] = useState(text);
  const area = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    area.current!.focus();
    area.current!.setSelectionRange(text.length, text.length);
  }, []);
  useLayoutEffect(() => grow(area.current!), [value]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      onCancel();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (value.trim()) onSave(value);
    }
  };
  return (
    <div class="editor">
      <textarea
        ref={area}
        rows={1}
        aria-label="Edit your message"
        value={value}
        onInput={(event) => setValue(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="actions">
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="button" class="primary" disabled={!value.trim()} onClick={() => onSave(value)}>
          Send
        </button>
      </div>
    </div>
  );
}

/** Make a box as high as its text; its style sheet sets the limit. */
export function grow(area: HTMLTextAreaElement): void {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
