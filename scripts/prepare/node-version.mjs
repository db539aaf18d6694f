const NEEDED = [20, 19];

/** An old Node would fail much later, with a syntax error in some dependency. */
export function checkNodeVersion(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [neededMajor = 0, neededMinor = 0] = NEEDED;
  if (major > neededMajor || (major === neededMajor && minor >= neededMinor)) return;
  throw new Error(
    `drover needs Node ${NEEDED.join(".")} or newer, this is ${version}. See https://nodejs.org/en/download`,
  );
}
