"use strict";
(() => {
  const root = document.documentElement;
  const button = (name, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = name;
    made.addEventListener("click", () => act(made));
    return made;
  };

  // The theme: what the system says, until the reader says otherwise.
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = button("", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.setAttribute("aria-label", "Switch between light and dark");
  name();
  document.querySelector(".tools").append(theme);

  // Copying code.
  const copy = async (text) => {
    try { return await navigator.clipboard.writeText(text); } catch { /* older way */ }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  for (const pre of document.querySelectorAll("pre")) {
    pre.before(button("Copy", async (made) => {
      await copy(pre.innerText);
      made.textContent = "Copied";
      setTimeout(() => { made.textContent = "Copy"; }, 1500);
    }));
    pre.previousSibling.className = "copy";
  }

  // Jumps: in a notebook's frame a link to #id would leave the page; and what is
  // filtered out is shown again when somebody asks for it.
  const jump = (target) => {
    if (target.matches(".card")) {
      for (const box of document.querySelectorAll(".filter input")) {
        if (target.classList.contains(box.id.slice(5))) box.checked = true;
      }
    }
    target.scrollIntoView();
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && document.getElementById(decodeURIComponent(link.getAttribute("href").slice(1)));
    if (!target) return;
    event.preventDefault();
    if (self === top) history.pushState(null, "", link.getAttribute("href"));
    jump(target);
  });
})();
