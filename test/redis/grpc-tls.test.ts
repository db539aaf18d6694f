import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { credentials } from "@grpc/grpc-js";
import { pino } from "pino";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { DroverError } from "../../src/contract/errors.ts";
import { openListenersTls } from "../../src/runtime/tls/listener-tls.ts";
import { openCertificates, type TestAuthority, type TestCertificate } from "../helpers/certificates.ts";
import { openCocosClient } from "../helpers/cocos-client.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openGrpcWorld } from "./grpc-world.ts";
import { openTestHost } from "./http-host.ts";
import { testConfig } from "./http-world.ts";

const pki = openCertificates();
let ca: TestAuthority;
let server: TestCertificate;
beforeAll(async () => {
  ca = await pki.authority("/CN=ca");
  server = await ca.issue({ subject: "/CN=server" });
});
afterAll(() => pki[Symbol.asyncDispose]());

/** The gRPC API with a certificate in files that a test may change; looked at every 20 ms. */
async function openTlsWorld(clientCa?: TestAuthority) {
  const files = { cert: join(pki.dir, "grpc.crt"), key: join(pki.dir, "grpc.key") };
  const renew = (to: TestCertificate) => {
    copyFileSync(to.certFile, files.cert);
    copyFileSync(to.keyFile, files.key);
  };
  renew(server);
  const env = {
    MANAGER_GRPC_SERVER_CERT: files.cert,
    MANAGER_GRPC_SERVER_KEY: files.key,
    ...(clientCa === undefined ? {} : { MANAGER_GRPC_CLIENT_CA_CERTS: clientCa.certFile }),
  };
  const logger = pino({ level: "silent" });
  const tls = openListenersTls(testConfig({ url: inject("redisUrl"), prefix: "{t}", env }), { logger, pollMs: 20 });
  const world = await openGrpcWorld({
    env,
    tls,
    channel: credentials.createSsl(Buffer.from(ca.cert)),
    whoIs: ({ certificateSubject }) => {
      if (clientCa !== undefined && certificateSubject === undefined) throw new DroverError("unauthenticated", "who?");
      return { owner: certificateSubject ?? "nobody", role: "submitter", via: "certificate" };
    },
  });
  return {
    world,
    renew,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      tls.grpc?.stop();
    },
  };
}

/** The name that the server shows in a handshake of its own; undefined when it ends it. */
function shownName(address: string, options: object = { ALPNProtocols: ["h2"] }): Promise<string | undefined> {
  return new Promise((resolve) => {
    const [host, port] = address.split(":");
    const socket = connect({ host, port: Number(port), ca: ca.cert, ...options });
    socket.on("secureConnect", () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", () => resolve(undefined));
  });
}

test("renewed certificates count for the next handshake, and a call that waits goes on", async () => {
  await using live = await openTlsWorld();
  const { world } = live;
  await using host = openTestHost(world.http);
  expect(await shownName(world.grpc.address)).toBe("server");
  const call = world.client.start("CreateVm", {}, { deadlineMs: 20_000 });
  await call.headers;
  live.renew(await ca.issue({ subject: "/CN=renewed" }));
  await waitFor(async () => (await shownName(world.grpc.address)) === "renewed", { what: "the reload" });
  const launched = await host.take();
  await host.run(launched);
  expect(await call.ended).toMatchObject({ status: "OK" });
  await host.complete(launched);
  expect(await shownName(world.grpc.address, { maxVersion: "TLSv1.1" }), "TLS 1.1").toBeUndefined();
});

test("with a clients' CA, callers are who their certificate says, and others do not get in", async () => {
  const clients = await pki.authority("/CN=clients");
  await using live = await openTlsWorld(clients);
  const { world } = live;
  const open = (certificate?: TestCertificate) =>
    openCocosClient(world.grpc.address, {
      channel:
        certificate === undefined
          ? credentials.createSsl(Buffer.from(ca.cert))
          : credentials.createSsl(Buffer.from(ca.cert), Buffer.from(certificate.key), Buffer.from(certificate.cert)),
    });
  using red = open(await clients.issue({ subject: "/CN=red/O=lab" }));
  const call = red.start("CreateVm", {}, { deadlineMs: 20_000 });
  const vmId = (await call.headers)["drover-vm-id"] ?? "";
  expect((await world.deps.store.get(vmId))?.owner).toBe("CN=red,O=lab");
  expect(await red.call("RemoveVm", { cvmId: vmId })).toMatchObject({ status: "OK" });

  using stranger = open(await ca.issue({ subject: "/CN=stranger" }));
  using nobody = open();
  for (const client of [stranger, nobody])
    expect(await client.call("CVMInfo", {}, { deadlineMs: 2_000 })).toMatchObject({ status: "UNAVAILABLE" });
});
