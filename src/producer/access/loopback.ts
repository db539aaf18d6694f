/** Whether a listener's host or a peer's address is this machine's own, reached from nowhere else. */
export function isLoopback(host: string): boolean {
  return /^(localhost|\[?::1\]?|(::ffff:)?127(\.\d{1,3}){3})$/i.test(host);
}
