// Starts the page: history and server watch, then the view.
import { render } from "preact";
import * as history from "./history";
import { listen } from "./shortcuts";
import { watch } from "./server";
import { say } from "./toasts";
import { Page } from "./view/page";

const root = document.getElementById("page")!;
root.replaceChildren();
render(<Page />, root);
listen();
void watch();
history.start().catch((problem: unknown) => {
  history.loaded.value = true;
  say("This browser does not let the page keep chats. Allow it to store data for this address, then load it again.", {
    tone: "error",
  });
  console.error(problem);
});
