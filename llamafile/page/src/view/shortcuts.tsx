// The list of keyboard shortcuts.
import { dialog } from "../screen";
import { SHORTCUTS } from "../shortcuts";
import { Modal } from "./modal";

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export function ShortcutsDialog() {
  return (
    <Modal title="Keyboard shortcuts" onClose={() => (dialog.value = null)}>
      <dl class="shortcuts">
        {SHORTCUTS.map(({ keys, does }) => (
          <div key={keys}>
            <dt>
              {keys.split(" ").map((key) => (
                <kbd key={key}>{MAC && key === "Ctrl" ? "⌘" : key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Modal>
  );
}
