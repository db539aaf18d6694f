import { expect, test } from "vitest";
import { TokenStore } from "../../src/queue/token-store.ts";
import { openHttpWorld } from "./http-world.ts";

test("a caller is told what is left of its minute, and when to go on once nothing is", async () => {
  const log: string[] = [];
  await using world = await openHttpWorld({ log, env: { DROVER_RATE_LIMIT: "3" } });
  const tokens = new TokenStore({ redis: world.redis, keys: world.keys });
  const add = async (owner: string) =>
    (await tokens.add({ owner, role: "viewer", label: "", createdBy: "test", expiresAtMs: undefined })).text;
  const [red, blue] = [await add("red"), await add("blue")];
  const ask = (token: string) => world.app.inject({ url: "/v1/vms", headers: { authorization: `Bearer ${token}` } });
  for (const left of ["2", "1", "0"]) {
    const { statusCode, headers } = await ask(red);
    expect([statusCode, headers["ratelimit-limit"], headers["ratelimit-remaining"]]).toEqual([200, "3", left]);
  }
  const met = await ask(red);
  expect([met.statusCode, met.json().code]).toEqual([429, "too_many_requests"]);
  expect(Number(met.headers["retry-after"])).toBeGreaterThanOrEqual(15);
  expect(Number(met.headers["retry-after"])).toBeLessThanOrEqual(20);
  expect(met.headers["ratelimit-remaining"]).toBe("0");
  await world.app.inject({ method: "POST", url: "/v1/vms", headers: { authorization: `Bearer ${red}` } });
  const lines = log.filter((line) => line.includes('"audit":true')).map((line) => JSON.parse(line));
  expect(lines).toEqual([expect.objectContaining({ outcome: "too_many_requests", owner: "red", role: "viewer" })]);
  expect((await ask(blue)).statusCode).toBe(200);
  expect((await world.app.inject("/health")).headers).not.toHaveProperty("ratelimit-limit");
});

test("what a proxy on this machine passes on is not taken for the local operator's", async () => {
  await using world = await openHttpWorld();
  expect((await world.app.inject("/v1/vms")).statusCode).toBe(200);
  for (const name of ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
    expect((await world.app.inject({ url: "/v1/vms", headers: { [name]: "192.0.2.9" } })).statusCode, name).toBe(401);
});

test("whoever asks for this machine by a name of its proxy is not the local operator either", async () => {
  await using world = await openHttpWorld({ env: { DROVER_ALLOWED_HOSTS: "drover.example.org" } });
  for (const host of ["127.0.0.1:7003", "[::1]:7003", "localhost"])
    expect((await world.app.inject({ url: "/v1/vms", headers: { host } })).statusCode, host).toBe(200);
  const named = await world.app.inject({ url: "/v1/vms", headers: { host: "drover.example.org" } });
  expect(named.statusCode).toBe(401);
});
