import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";

export interface RedisProxy extends AsyncDisposable {
  readonly url: string;
  /**
   * From now on nothing that a client sends on connections with such a name reaches Redis (ioredis names its
   * connections with CLIENT SETNAME). The connections stay open: whoever asks waits.
   */
  hold(connectionName: RegExp): void;
}

interface Pair {
  name: string;
  readonly client: Socket;
  readonly server: Socket;
}

const SETNAME = /setname\r\n\$\d+\r\n([^\r]+)\r\n/i;

/** A way to Redis that can be blocked for some connections of a process and left open for others. */
export async function startRedisProxy(redisUrl: string): Promise<RedisProxy> {
  const target = new URL(redisUrl);
  const pairs = new Set<Pair>();
  const held: RegExp[] = [];
  const proxy = createServer((client) => {
    const server = createConnection({ host: target.hostname, port: Number(target.port) });
    const pair: Pair = { name: "", client, server };
    pairs.add(pair);
    const end = () => {
      client.destroy();
      server.destroy();
      pairs.delete(pair);
    };
    client.on("data", (chunk) => {
      pair.name = SETNAME.exec(chunk.toString("latin1"))?.[1] ?? pair.name;
      if (!held.some((name) => name.test(pair.name))) server.write(chunk);
    });
    server.on("data", (chunk) => client.write(chunk));
    for (const socket of [client, server]) socket.once("close", end).once("error", end);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`, // a TCP server's address is this
    hold: (name) => void held.push(name),
    async [Symbol.asyncDispose]() {
      for (const { client, server } of pairs) {
        client.destroy();
        server.destroy();
      }
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
