// The one door through which model output becomes HTML: DOMPurify with a short list of what Markdown can make.
import DOMPurify from "dompurify";

const TAGS = `a b blockquote br code del details div dd dl dt em h1 h2 h3 h4 h5 h6 hr i img input ins kbd li mark ol p
  pre s samp small span strong sub summary sup table tbody td tfoot th thead tr u ul var`.split(/\s+/);
const PLAIN = "align alt checked colspan disabled open rowspan start title type".split(" "); // no addresses
const ATTRIBUTES = [...PLAIN, "href", "src"];

const purify = DOMPurify(window);

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node instanceof HTMLAnchorElement) {
    node.target = "_blank";
    node.rel = "noopener noreferrer nofollow";
  }
  if (node instanceof HTMLInputElement) {
    node.type = "checkbox"; // a task in a list, and nothing that could be typed into
    node.disabled = true;
  }
});

/** A fragment with what is allowed of the HTML: no scripts, styles, ids, forms, frames, or addresses but the web's. */
export function sanitize(html: string): DocumentFragment {
  const clean = purify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ADD_URI_SAFE_ATTR: PLAIN,
    ADD_DATA_URI_TAGS: ["img"],
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const image of clean.querySelectorAll("img")) if (!isInline(image)) image.replaceWith(named(image));
  return clean;
}

/** Coloured code as highlight.js writes it: spans with its classes, and nothing else. */
export function sanitizeCode(html: string): DocumentFragment {
  return purify.sanitize(html, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true });
}

/** MathML as KaTeX writes it, for screen readers. */
export function sanitizeMath(html: string): DocumentFragment {
  return purify.sanitize(html, {
    USE_PROFILES: { mathMl: true },
    ADD_TAGS: ["semantics"],
    FORBID_ATTR: ["style", "href", "id"],
    RETURN_DOM_FRAGMENT: true,
  });
}

function isInline(image: HTMLImageElement): boolean {
  return /^data:image\/(png|jpeg|gif|webp);/.test(image.getAttribute("src") ?? "");
}

/** Images from elsewhere are not fetched: that would tell a stranger that this answer was read. */
function named(image: HTMLImageElement): HTMLElement {
  const source = image.getAttribute("src") ?? "";
  const words = document.createElement("span");
  words.className = "image-elsewhere";
  words.textContent = `Image not loaded: ${image.alt || "no description"}${source ? ` (${source})` : ""}`;
  return words;
}
