import htm from "htm";
import { h } from "preact";

/** HTML from a template. What is put into it is text, whatever it holds; markup comes from templates only. */
export const html = htm.bind(h);
