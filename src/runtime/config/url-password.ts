/** Hides the passwords in URLs: `redis://user:secret@host` becomes `redis://user:***@host`. */
export function maskUrlPasswords(text: string): string {
  // Up to the last @ before a path, as URL parsers have it: a password may hold an unescaped @.
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@]*):[^\s/?#]*@/gi, "$1:***@");
}
