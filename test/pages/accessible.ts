import type { Page } from "playwright-core";
import { expect } from "vitest";

/** Runs in the page, which knows the DOM; this project does not. Gives what is wrong, in words. */
const FIND_FAULTS = `(() => {
  const faults = [];
  const seen = (one) => one.checkVisibility({ visibilityProperty: true });
  const nameOf = (one) => (one.getAttribute("aria-label") ?? one.textContent ?? "").trim();
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
  for (const role of ["header", "main", "nav"]) if (all(role).length === 0) faults.push("no landmark " + role);
  if (all("main").length > 1) faults.push("several main parts");
  if (all("h1").length !== 1) faults.push(all("h1").length + " headings of the first rank");
  let rank = 1;
  for (const heading of all("main h1, main h2, main h3")) {
    const own = Number(heading.tagName[1]);
    if (own > rank + 1) faults.push("a heading leaves a rank out: " + nameOf(heading));
    rank = own;
  }
  for (const one of all("button, a[href], summary")) if (nameOf(one) === "") faults.push("no name: " + one.outerHTML);
  for (const one of all("input, select, textarea"))
    if (one.type !== "hidden" && one.labels.length === 0 && !one.hasAttribute("aria-label"))
      faults.push("no label: " + one.outerHTML);
  for (const one of all("meter, [role=progressbar], dialog, section, [role=region]"))
    if (!one.hasAttribute("aria-label") && !document.getElementById(one.getAttribute("aria-labelledby") ?? ""))
      faults.push("no name: " + one.tagName + " " + one.className);
  for (const table of all("table")) {
    if (table.caption === null) faults.push("a table without a caption");
    if (table.querySelectorAll("thead th[scope=col]").length === 0) faults.push("a table without headers");
  }
  for (const one of document.querySelectorAll("[onclick]")) faults.push("clickable: " + one.outerHTML);
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push("twice the id " + id);
  if (document.documentElement.lang === "") faults.push("no language");
  if (document.title === "") faults.push("no title");
  return faults;
})()`;

/** Colours of every text against what is behind it; WCAG asks for 4.5 (3 for large text). */
const FIND_FAINT = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = under;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (parts) => {
    const [r, g, b] = parts.map((part) => part / 255).map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  for (const one of document.querySelectorAll("body *")) {
    const isText = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!isText || !one.checkVisibility() || one.closest(".unseen, .skip, noscript, :disabled")) continue;
    let behind = one;
    while (behind !== null && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const ground = rgb(behind === null ? "white" : getComputedStyle(behind).backgroundColor, "white");
    const text = rgb(getComputedStyle(one).color, "rgb(" + ground + ")");
    const [a, b] = [light(ground), light(text)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(one.tagName + " " + one.className + ": " + contrast.toFixed(2));
  }
  return [...new Set(faint)];
})()`;

/** What people who listen, who use no mouse or who see little need of the page as it stands. */
export async function expectAccessible(page: Page): Promise<void> {
  expect(await page.evaluate(FIND_FAULTS), page.url()).toEqual([]);
  expect(await page.evaluate(FIND_FAINT), `contrast at ${page.url()}`).toEqual([]);
}

/** Nothing is wider than the window. */
export async function expectNoSidewaysScrolling(page: Page): Promise<void> {
  const wider = await page.evaluate(
    `[...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && one.checkVisibility() && !one.closest(".unseen, .skip, pre")).map((one) => one.tagName + "." + one.className)`,
  );
  expect(wider, page.url()).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url()).toBe(true);
}
