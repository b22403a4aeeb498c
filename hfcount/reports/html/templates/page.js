"use strict";
(() => {
  const tip = document.getElementById("tip");
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - box.width - 4)) + "px";
    tip.style.top = (y + box.height + 20 > innerHeight ? y - box.height - 10 : y + 14) + "px";
  };
  const hide = () => { tip.hidden = true; };

  // A part of a bar says what it is: under the pointer, at a touch, and when the keyboard reaches it.
  for (const part of document.querySelectorAll("[data-tip]")) {
    part.addEventListener("pointermove", (event) => show(part.dataset.tip, event.clientX, event.clientY));
    part.addEventListener("pointerleave", hide);
    part.addEventListener("focus", () => { const box = part.getBoundingClientRect(); show(part.dataset.tip, box.left, box.bottom); });
    part.addEventListener("blur", hide);
  }

  // What is folded is printed as well.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));

  // Pointing at a name in a legend fades the others.
  for (const name of document.querySelectorAll(".legend [data-of]")) {
    const parts = name.closest("figure").querySelectorAll(".bar [data-of], polygon[data-of]");
    const fade = (on) => parts.forEach((part) => part.classList.toggle("faded", on && part.dataset.of !== name.dataset.of));
    name.addEventListener("pointerenter", () => fade(true));
    name.addEventListener("pointerleave", () => fade(false));
  }

  // Over a curve, a line and the bytes at that operation.
  const units = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]];
  const size = (bytes) => {
    const [name, unit] = units.find(([, each]) => bytes >= each) || units[3];
    return (bytes / unit).toFixed(unit === 1 ? 0 : 2) + " " + name;
  };
  for (const panel of document.querySelectorAll(".curve")) {
    const data = JSON.parse(panel.dataset.rows);
    const cross = panel.querySelector(".cross");
    panel.addEventListener("pointermove", (event) => {
      const box = panel.getBoundingClientRect();
      const share = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width));
      const [operation, phase, ...bytes] = data.rows[Math.floor(share * data.rows.length)];
      const lines = data.names.map((name, index) => [name, bytes[index]]).filter((each) => each[1]).reverse();
      const total = bytes.reduce((sum, each) => sum + each, 0);
      cross.hidden = false;
      cross.style.left = 100 * share + "%";
      show([`${phase}, operation ${(operation + 1).toLocaleString("en")}: ${size(total)}`, ...lines.map(([name, each]) => `${name}: ${size(each)}`)].join("\n"), event.clientX, event.clientY);
    });
    panel.addEventListener("pointerleave", () => { cross.hidden = true; hide(); });
  }
})();
