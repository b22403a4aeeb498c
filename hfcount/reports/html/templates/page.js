"use strict";
// What is folded is printed as well.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));

const tip = (() => {
  const box = document.getElementById("tip");
  const show = (text, x, y) => {
    box.textContent = text;
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = Math.max(4, Math.min(x + 12, innerWidth - width - 4)) + "px";
    box.style.top = (y + height + 20 > innerHeight ? y - height - 10 : y + 14) + "px";
  };
  return { show, hide: () => { box.hidden = true; } };
})();
