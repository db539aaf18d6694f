import { html } from "./html.ts";
import type { Page } from "./page.ts";

/** The page to log in on. `refusal` says why the attempt before did not work. */
export function loginPage({ next, refusal }: { readonly next: string; readonly refusal?: string | undefined }): Page {
  return {
    title: "Log in",
    main: html`${refusal === undefined ? undefined : html`<p class="refusal" role="alert" id="refusal">${refusal}</p>`}
<form method="post" action="/login">
<input type="hidden" name="next" value="${next}">
<label for="token">Token</label>
<input id="token" name="token" type="password" required autofocus autocomplete="current-password" autocapitalize="none" spellcheck="false" aria-describedby="hint${refusal === undefined ? "" : " refusal"}"${refusal === undefined ? undefined : html` aria-invalid="true"`}>
<p id="hint" class="hint">It begins with <code>drover_</code>. An operator makes one with <code>drover token add</code>.</p>
<button>Log in</button>
</form>`,
  };
}
