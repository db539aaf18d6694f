import { once } from "node:events";
import { execPath } from "node:process";
import { execa } from "execa";

/** Passes connections on to a port of this machine, as QEMU's user network does for a guest that calls 10.0.2.2. */
const FORWARD = `
const { connect, createServer } = require("node:net");
const server = createServer((from) => {
  const to = connect(Number(process.argv[1]), "127.0.0.1");
  from.pipe(to).pipe(from);
  for (const one of [from, to]) one.on("error", () => { from.destroy(); to.destroy(); });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/** The port of a program that passes connections on to `port`; with `-netdev user` among its arguments it counts as QEMU. */
export async function forwarderTo(port: number, asQemu: boolean) {
  const netdev = asQemu ? ["-netdev", "user,id=vmnic"] : [];
  const child = execa(execPath, ["-e", FORWARD, "--", String(port), ...netdev], { reject: false, buffer: false });
  const [line] = await once(child.stdout, "data");
  return { port: Number(String(line)), [Symbol.dispose]: () => void child.kill("SIGKILL") };
}
