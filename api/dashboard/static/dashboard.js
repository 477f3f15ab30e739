// What pages do beside htmx: times in the viewer's zone, the theme, shortcuts, copies, downloads, and the live tick.
"use strict";
(() => {
  const TICK_MILLISECONDS = 2000;
  const root = document.documentElement;

  const FORMATS = {
    month: { year: "numeric", month: "short" },
    day: { year: "numeric", month: "short", day: "numeric" },
    hour: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    minute: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    second: { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  };
  const made = new Map();
  function formatOf(precision, zone) {
    const key = `${precision} ${zone || ""}`;
    if (!made.has(key)) made.set(key, new Intl.DateTimeFormat("en-GB", { ...FORMATS[precision] || FORMATS.minute, timeZone: zone || undefined }));
    return made.get(key);
  }
  window.tallyInstant = (iso, precision, zone) => formatOf(precision, zone).format(new Date(iso));

  function localTimes(within) {
    for (const time of within.querySelectorAll("time[data-precision]:not([data-shown])")) {
      time.dataset.shown = "";
      time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
      time.textContent = window.tallyInstant(time.dateTime, time.dataset.precision, time.dataset.zone);
    }
    for (const field of within.querySelectorAll("input[data-own-zone]:not([data-shown])")) {
      field.dataset.shown = "";
      if (!field.value) field.placeholder = Intl.DateTimeFormat().resolvedOptions().timeZone;
    }
  }

  // What scrolls can be reached and scrolled from the keyboard, and only that.
  function reachScrolling() {
    for (const part of document.querySelectorAll(".scroll")) {
      if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) part.tabIndex = 0;
      else part.removeAttribute("tabindex");
    }
  }
  const THEMES = ["auto", "light", "dark"];
  function showTheme() {
    const name = root.dataset.theme || "auto";
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.querySelector("[data-theme-name]").textContent = name[0].toUpperCase() + name.slice(1);
    }
    document.dispatchEvent(new CustomEvent("tally:theme"));
  }
  function nextTheme() {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length];
    if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
    try { if (next === "auto") localStorage.removeItem("theme"); else localStorage.setItem("theme", next); } catch { /* not kept */ }
    showTheme();
  }

  async function copy(button) {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // What is shown, in another format: asked of the API by its media type.
  async function download(link) {
    link.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(link.href, { headers: { Accept: link.dataset.accept } });
      if (!answer.ok) throw new Error((await answer.json()).detail);
      const file = URL.createObjectURL(await answer.blob());
      const made = Object.assign(document.createElement("a"), { href: file, download: link.dataset.name });
      made.click();
      setTimeout(() => URL.revokeObjectURL(file), 10000);
    } catch (error) {
      say(`The download failed: ${error.message}`);
    } finally {
      link.removeAttribute("aria-busy");
    }
  }
  function say(text) {
    const line = Object.assign(document.createElement("p"), { className: "notice bad", textContent: text });
    document.getElementById("said").replaceChildren(line);
  }

  document.addEventListener("click", (event) => {
    const at = event.target.closest("[data-theme-switch], [data-open], [data-copy], a[data-accept], [data-all]");
    if (!at) return;
    if (at.hasAttribute("data-theme-switch")) nextTheme();
    else if (at.dataset.open) document.getElementById(at.dataset.open).showModal();
    else if (at.hasAttribute("data-copy")) copy(at);
    else if (at.dataset.all) for (const box of document.querySelectorAll(`input[name="${at.dataset.all}"]`)) box.checked = at.checked;
    else { event.preventDefault(); download(at); }
  });

  let waitsForLetter = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable], dialog")) return;
    if (Date.now() - waitsForLetter < 1200) {
      const link = document.querySelector(`nav a[data-letter="${CSS.escape(event.key)}"]`);
      waitsForLetter = 0;
      if (link) { event.preventDefault(); link.click(); return; }
    }
    if (event.key === "g") waitsForLetter = Date.now();
    else if (event.key === "t") nextTheme();
    else if (event.key === "?") document.getElementById("keys").showModal();
    else if (event.key === "/") {
      const field = document.querySelector("main input:not([type=hidden]):not([type=checkbox]), main select");
      if (field) { event.preventDefault(); field.focus(); }
    }
  });

  // Live parts ask again while somebody can see them, but not under the focus or a selection.
  setInterval(() => {
    if (document.hidden || !window.htmx) return;
    const chosen = window.getSelection();
    for (const part of document.querySelectorAll("[data-live]")) {
      const isRead = part.contains(document.activeElement) || (!chosen.isCollapsed && part.contains(chosen.anchorNode));
      if (!isRead) window.htmx.trigger(part, "tally:tick");
    }
  }, TICK_MILLISECONDS);

  document.addEventListener("htmx:afterSwap", (event) => {
    event.target.removeAttribute("aria-busy");
    localTimes(document);
    reachScrolling();
  });
  document.addEventListener("toggle", reachScrolling, true);
  window.addEventListener("resize", reachScrolling);
  // Fields that say nothing are not part of an address.
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") return;
    for (const [name, value] of [...event.detail.formData.entries()]) if (value === "") event.detail.formData.delete(name);
  });
  document.addEventListener("htmx:sendError", () => say("The server does not answer. It is asked again."));

  localTimes(document);
  reachScrolling();
  showTheme();
})();
