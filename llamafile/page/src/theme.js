// Sets a chosen colour scheme before the first paint; it is a file of its own because the policy forbids inline scripts.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // storage is refused: the system's scheme is used
}
