/** What proxies add. They are believed in one direction only: whoever sends one is not the local operator. */
export const PROXY_HEADERS: readonly string[] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
