import { say } from "./notice.js";
import { observable } from "./observable.js";
import { routeOf } from "./route.js";

/** What is shown now. */
export const route = observable(routeOf(location));

/** Shows another view, as a link to it does. @param {string} path */
export function goTo(path) {
  history.pushState(null, "", path);
  arrive();
  scrollTo(0, 0);
}

/** Turns links between the views into moves within the page; all others stay links. */
export function followLinks() {
  addEventListener("popstate", arrive);
  document.addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.origin !== location.origin || link.target !== "" || link.hasAttribute("download")) return;
    if (link.getAttribute("href")?.startsWith("#") || routeOf(link).view === "nowhere") return;
    event.preventDefault();
    goTo(link.pathname + link.search);
  });
}

/** What was said of the view before is said no longer. */
function arrive() {
  say("");
  route.set(routeOf(location));
}
