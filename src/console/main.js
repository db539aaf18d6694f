import { render } from "preact";
import { App } from "./app.js";
import { startClock } from "./clock.js";
import { html } from "./html.js";
import { followLinks } from "./navigation.js";
import { Places } from "./places.js";

const fleet = document.querySelector("#fleet");
const places = document.querySelector("#places");
if (fleet === null || places === null) throw new Error("this document is not the page of drover");
startClock();
followLinks();
fleet.replaceChildren();
render(html`<${App} />`, fleet);
render(html`<${Places} />`, places);
