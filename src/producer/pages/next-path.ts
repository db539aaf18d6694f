const NEXT_MAX_CHARS = 512;
const HOME = "/";
/** Stands for whatever name this server is called by. */
const ANY_ORIGIN = "http://drover.invalid";
const LOGIN_PAGES = ["/login", "/logout"];

/**
 * Where a login leads, from a query or form that anybody may have written: always a path of this server, else the first
 * page.
 */
export function nextPath(wish: unknown): string {
  if (typeof wish !== "string" || wish.length > NEXT_MAX_CHARS || !wish.startsWith("/")) return HOME;
  if (!URL.canParse(wish, ANY_ORIGIN)) return HOME;
  const { origin, pathname, search } = new URL(wish, ANY_ORIGIN);
  // Browsers read `//` and `/\` as the beginning of another host; reading `/.//` makes one, too.
  if (origin !== ANY_ORIGIN || pathname.startsWith("//") || LOGIN_PAGES.includes(pathname)) return HOME;
  return `${pathname}${search}`;
}
