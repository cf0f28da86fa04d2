// Watches the server: there or away, loading, locked by a key; asks again until it is back.
import { signal } from "@preact/signals";
import { health, props, RequestError } from "./api";
import type { ServerProps } from "./types";

export type State = "unknown" | "up" | "loading" | "away" | "locked";

export const state = signal<State>("unknown");
export const served = signal<ServerProps | null>(null);
export const wasAway = signal(false); // and is back: said for a few seconds

const CALM = 15_000; // milliseconds between looks while all is well
const EAGER = 1_000;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Look now, and from then on for ever. */
export async function watch(): Promise<void> {
  clearTimeout(timer);
  const before = state.value;
  let now: State = await health();
  if (now === "up" && (served.value === null || before !== "up")) now = await learn();
  if (now === "up" && before === "away") {
    wasAway.value = true;
    setTimeout(() => (wasAway.value = false), 4000);
  }
  state.value = now;
  clearTimeout(timer);
  if (document.hidden) return; // looks again when it is shown
  timer = setTimeout(watch, now === "up" || now === "locked" ? CALM : EAGER);
}

async function learn(): Promise<State> {
  try {
    served.value = await props();
    return "up";
  } catch (problem) {
    if (!(problem instanceof RequestError)) throw problem;
    return problem.failure.kind === "locked" ? "locked" : problem.failure.kind === "away" ? "away" : "loading";
  }
}

/** A request has failed: look at once what is the matter. */
export function suspect(problem: RequestError): void {
  if (problem.failure.kind === "locked") state.value = "locked";
  else if (problem.failure.kind === "away" || problem.failure.kind === "cut") void watch();
}

addEventListener("online", () => void watch());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void watch();
});
