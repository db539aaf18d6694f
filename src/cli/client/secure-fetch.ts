import type { RequestInit as SecureRequestInit } from "undici";
import type { ClientTlsOptions } from "../../runtime/tls/client-material.ts";

/**
 * `fetch` with CAs and a certificate of its own, which Node's takes none of. Loaded at the first call: commands without
 * TLS need not wait for it.
 */
export function secureFetch(options: ClientTlsOptions): typeof fetch {
  let loading: Promise<typeof fetch> | undefined;
  const load = async (): Promise<typeof fetch> => {
    const { Agent, fetch: fetchOver } = await import("undici");
    const dispatcher = new Agent({ connect: options });
    const send = (url: string, init: SecureRequestInit) => fetchOver(url, { ...init, dispatcher });
    // Node's fetch is this very code in an older version; the two differ in the types of what nobody uses here.
    return send as unknown as typeof fetch;
  };
  return async (input, init) => {
    loading ??= load();
    return (await loading)(String(input), init);
  };
}
