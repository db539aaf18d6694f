import { createServer } from "node:net";

/** `await using other = await listenOn(port)`: a foreign process's listener, as far as anybody can tell. */
export async function listenOn(port: number, host = "127.0.0.1"): Promise<AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, exclusive: true }, resolve);
  });
  return {
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
