// The settings: instructions for the model, how it picks its words, tools, the API key, the history.
import { useState } from "preact/hooks";
import { chats, current, remove, setInstructions } from "../history";
import { dialog } from "../screen";
import { served } from "../server";
import { apiKey, changeKey, changeSettings, DEFAULTS, settings } from "../settings";
import type { Settings } from "../types";
import { Modal } from "./modal";

type NumberName = {
  [K in keyof Settings]: Settings[K] extends number | null ? K : never;
}[keyof Settings];

interface NumberField {
  name: NumberName;
  label: string;
  hint: string;
  min: number;
  max?: number;
  step: number;
}

const FIELDS: readonly NumberField[] = [
  { name: "temperature", label: "Temperature", hint: "0 always takes the likeliest word; more is bolder", min: 0, max: 5, step: 0.05 },
  { name: "max_tokens", label: "Longest answer", hint: "In tokens; a token is about three quarters of a word", min: 1, step: 1 },
  { name: "top_k", label: "Top K", hint: "Choose among so many likeliest words; 0 is no limit", min: 0, step: 1 },
  { name: "top_p", label: "Top P", hint: "Choose among the likeliest words that together reach this share", min: 0, max: 1, step: 0.01 },
  { name: "min_p", label: "Min P", hint: "Leave out words less likely than this share of the likeliest", min: 0, max: 1, step: 0.01 },
  { name: "repeat_penalty", label: "Repeat penalty", hint: "Above 1 avoids saying the same again", min: 0, max: 5, step: 0.01 },
  { name: "presence_penalty", label: "Presence penalty", hint: "Above 0 favours words not used yet", min: -2, max: 2, step: 0.05 },
  { name: "frequency_penalty", label: "Frequency penalty", hint: "Above 0 avoids words used often", min: -2, max: 2, step: 0.05 },
  { name: "seed", label: "Seed", hint: "The same number gives the same answer again", min: 0, step: 1 },
];

export function SettingsDialog() {
  const chat = current.value;
  const values = settings.value;
  return (
    <Modal title="Settings" class="settings" onClose={() => (dialog.value = null)}>
      <div class="form">
        <fieldset>
          <legend>Instructions for the model</legend>
          <TextField
            label="In all chats"
            value={values.system}
            placeholder="For example: Answer briefly, in plain words."
            onChange={(system) => changeSettings({ system })}
          />
          {chat && (
            <TextField
              label="In this chat, instead"
              value={chat.system ?? ""}
              placeholder="The same as in all chats"
              onChange={(system) => void setInstructions(chat.id, system.trim() ? system : null)}
            />
          )}
        </fieldset>
        <fieldset>
          <legend>How it answers</legend>
          <p class="hint">An empty field leaves the choice to the server.</p>
          <div class="grid">
            {FIELDS.map((field) => (
              <NumberInput key={field.name} {...field} />
            ))}
          </div>
          <label class="field">
            <span>Thinking before it answers</span>
            <select
              value={values.thinking}
              onChange={(event) => changeSettings({ thinking: event.currentTarget.value as Settings["thinking"] })}
            >
              <option value="default">As the model does by itself</option>
              <option value="on">On</option>
              <option value="off">Off</option>
            </select>
          </label>
        </fieldset>
        <ToolsField />
        <fieldset>
          <legend>Server</legend>
          <div class="field">
            <label for="field-key">API key</label>
            <input
              id="field-key"
              aria-describedby="hint-key"
              type="password"
              autocomplete="off"
              placeholder="None"
              value={apiKey.value}
              onChange={(event) => changeKey(event.currentTarget.value)}
            />
            <small id="hint-key">Only for a server that was started with one. It is kept in this browser.</small>
          </div>
        </fieldset>
        <div class="actions">
          <button
            type="button"
            class="danger"
            disabled={!chats.value.length}
            onClick={() => {
              dialog.value = null;
              void remove(chats.value.map((each) => each.id));
            }}
          >
            Delete all chats
          </button>
          <span class="gap" />
          <button type="button" onClick={() => changeSettings(DEFAULTS)}>
            Reset settings
          </button>
          <button type="button" class="primary" onClick={() => (dialog.value = null)}>
            Done
          </button>
        </div>
      </div>
    </Modal>
  );
}

interface TextFieldProps {
  label: string;
  value: string;
  placeholder: string;
  onChange: (text: string) => void;
}

function TextField({ label, value, placeholder, onChange }: TextFieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <textarea
        rows={3}
        value={value}
        placeholder={placeholder}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    </label>
  );
}

function NumberInput({ name, label, hint, min, max, step }: NumberField) {
  const [wrong, setWrong] = useState(false);
  const value = settings.value[name];
  const change = (input: HTMLInputElement) => {
    const number = input.value.trim() === "" ? null : Number(input.value);
    const valid = !input.validity.badInput && (number === null || inRange(number, min, max, step));
    setWrong(!valid);
    if (valid) changeSettings({ [name]: number });
  };
  return (
    <div class="field">
      <label for={`field-${name}`}>{label}</label>
      <input
        id={`field-${name}`}
        type="number"
        inputMode="decimal"
        min={min}
        max={max}
        step="any"
        value={value ?? ""}
        placeholder={inWords(name, served.value?.defaults[name])}
        aria-invalid={wrong}
        aria-describedby={`hint-${name}`}
        onInput={(event) => change(event.currentTarget)}
      />
      <small id={`hint-${name}`} class={wrong ? "error-text" : ""}>
        {wrong ? `A ${step === 1 ? "whole " : ""}number from ${min}${max === undefined ? " up" : ` to ${max}`}` : hint}
      </small>
    </div>
  );
}

/** What the server takes for an empty field. */
function inWords(name: NumberName, value: number | undefined): string {
  if (name === "seed") return "A new one each time";
  if (value === undefined) return "";
  return value < 0 && name === "max_tokens" ? "No limit" : String(Number(value.toPrecision(4)));
}

function inRange(number: number, min: number, max: number | undefined, step: number): boolean {
  return number >= min && number <= (max ?? Infinity) && (step !== 1 || Number.isInteger(number));
}

function ToolsField() {
  const [text, setText] = useState(settings.value.tools);
  const fault = text.trim() ? faultOf(text) : "";
  return (
    <fieldset>
      <legend>Tools</legend>
      <div class="field">
        <label for="field-tools">Tools the model may ask for</label>
        <textarea
          id="field-tools"
          rows={3}
          class="code-input"
          spellcheck={false}
          value={text}
          placeholder='[{"type": "function", "function": {"name": "weather", "parameters": {…}}}]'
          aria-invalid={fault !== ""}
          aria-describedby="hint-tools"
          onInput={(event) => {
            const next = event.currentTarget.value;
            setText(next);
            if (!next.trim() || !faultOf(next)) changeSettings({ tools: next.trim() });
          }}
        />
        <small id="hint-tools" class={fault ? "error-text" : ""}>
          {fault || "A JSON list as in OpenAI's interface. You give the tools' answers yourself."}
        </small>
      </div>
    </fieldset>
  );
}

function faultOf(text: string): string {
  try {
    const tools: unknown = JSON.parse(text);
    const sound = Array.isArray(tools) && tools.every((tool) => typeof tool?.function?.name === "string");
    return sound ? "" : "This must be a list of objects with function.name.";
  } catch {
    return "This is not JSON yet.";
  }
}
