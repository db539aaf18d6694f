/** Hides the passwords in URLs: `redis://user:secret@host` becomes `redis://user:***@host`. */
export function maskUrlPasswords(text: string): string {
  // Up to the last @ of the line, whatever stands before it: a password may hold an unescaped @, / or #, and a URL that
  // is refused for just that is shown as well.
  return text.replace(/([a-z][a-z0-9+.-]*:\/{1,2}[^\s:/?#@]*):.*@/gi, "$1:***@");
}
