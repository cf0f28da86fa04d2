// The icons, drawn as strokes on a grid of 24; all are decoration beside a label.
const PATHS = {
  new: "M12 5v14M5 12h14",
  search: "M11 5a6 6 0 1 0 0 12a6 6 0 0 0 0-12M15.500 15.500 20 20",
  side: "M4 6.500A1.500 1.500 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500zM9.500 5v14",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  attach: "M19 11.500 12.200 18.300a4.200 4.200 0 0 1-6-6l7-7a2.800 2.800 0 0 1 4 4l-7 7a1.400 1.400 0 0 1-2-2l6.300-6.300",
  image: "M5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500v-11A1.500 1.500 0 0 1 5.500 5zM4.500 16l4.500-4.500 4 4 2-2 4.500 4.500M15 9.500h.01",
  copy: "M9 9h9.500v9.500H9zM15 9V5.500H5.500V15H9",
  check: "M5 12.500 10 17.500 19.500 7",
  edit: "M5 19l.7-3.500L15.800 5.400a1.700 1.700 0 0 1 2.400 0l.4.4a1.700 1.700 0 0 1 0 2.400L8.500 18.300z",
  again: "M19 12a7 7 0 1 1-2.200-5.100M19 4.500v4h-4",
  left: "M14.500 6 8.500 12l6 6",
  right: "M9.500 6l6 6-6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l.8 12.500h8.400L17 7",
  export: "M12 14V4M8 8l4-4 4 4M5 15v4.500h14V15",
  import: "M12 4v10M8 10l4 4 4-4M5 15v4.500h14V15",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.800v4.400M9 14.800v4.400",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1.100 1.100M17.300 17.300l1.100 1.100M18.400 5.600l-1.100 1.100M6.700 17.300l-1.100 1.100",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  screen: "M4 6.500A1.500 1.500 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v8a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 14.500zM9 19.500h6",
  keys: "M4.500 7h15A1.500 1.500 0 0 1 21 8.500v7a1.500 1.500 0 0 1-1.500 1.500h-15A1.500 1.500 0 0 1 3 15.500v-7A1.500 1.500 0 0 1 4.500 7zM7 10.500h.01M10.300 10.500h.01M13.700 10.500h.01M17 10.500h.01M8 13.800h8",
  close: "M6.500 6.500l11 11M17.500 6.500l-11 11",
  tool: "M14.500 6.500a4 4 0 0 0-5 5L4.500 16.500l3 3 5-5a4 4 0 0 0 5-5L15 12l-3-3z",
  file: "M7 4h7l4 4v12H7zM14 4v4h4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  class?: string;
  controls?: string; // the element that it shows and hides
  expanded?: boolean;
}

export function IconButton({ icon, label, onClick, disabled, class: more = "", controls, expanded }: IconButtonProps) {
  return (
    <button
      type="button"
      class={`icon-button ${more}`}
      aria-label={label}
      title={label}
      aria-controls={controls}
      aria-expanded={expanded}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
