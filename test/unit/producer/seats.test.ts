import { expect, test } from "vitest";
import type { Principal } from "../../../src/producer/principal.ts";
import { Seats } from "../../../src/producer/seats.ts";

const FULL = expect.objectContaining({ code: "too_many_requests" });
const holder = (owner: string, via: Principal["via"] = "token") => ({ owner, via });

test("one caller takes a quarter of the seats at most, so that others find one", () => {
  const seats = new Seats("the event stream", 8);
  const [first] = [seats.take(holder("ada")), seats.take(holder("ada"))];
  expect(() => seats.take(holder("ada"))).toThrow(FULL);
  expect(() => seats.take(holder("ada", "session")), "whatever it comes with").toThrow(FULL);
  seats.take(holder("eve"));
  first?.[Symbol.dispose]();
  first?.[Symbol.dispose]();
  seats.take(holder("ada"));
  expect(() => seats.take(holder("ada")), "a seat is given back once").toThrow(FULL);
});

test("the local operator has the house to itself, and no more than that", () => {
  const seats = new Seats("the event stream", 3);
  for (let i = 0; i < 3; i++) seats.take(holder("local", "local"));
  expect(() => seats.take(holder("local", "local"))).toThrow(FULL);
  expect(() => seats.take(holder("ada"))).toThrow(FULL);
  expect(() => seats.take()).toThrow(FULL);
});
