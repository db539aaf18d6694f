/**
 * @typedef {object} Entry
 * @property {string} path without a leading slash
 * @property {"directory" | "file" | "link" | "console"} kind
 * @property {Buffer} [bytes] a file's content, or a link's target
 * @property {boolean} [executable]
 */

const MODES = { directory: 0o040755, file: 0o100644, link: 0o120777, console: 0o020600 };

/**
 * A cpio archive in the kernel's initramfs format ("newc"). Owner root, no times, entries in the given order: the same
 * entries always give the same bytes, and device nodes need no root here.
 * @param {readonly Entry[]} entries
 * @returns {Buffer}
 */
export function cpio(entries) {
  const members = entries.map((entry, index) => member(entry, index + 1));
  return Buffer.concat([...members, member({ path: "TRAILER!!!", kind: "file" }, 0)]);
}

/**
 * @param {Entry} entry
 * @param {number} inode
 */
function member({ path, kind, bytes = Buffer.alloc(0), executable = false }, inode) {
  const mode = path === "TRAILER!!!" ? 0 : MODES[kind] | (executable ? 0o111 : 0);
  const [major, minor] = kind === "console" ? [5, 1] : [0, 0];
  const name = Buffer.from(`${path}\0`);
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, major, minor, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(bytes)]);
}

/** @param {Buffer} bytes */
function padded(bytes) {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
