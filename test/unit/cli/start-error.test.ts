import { expect, test } from "vitest";
import { CliError } from "../../../src/cli/cli-error.ts";
import { startError } from "../../../src/cli/server-setup.ts";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";

const { config } = loadConfig({ HOME: "/home/x" });
const systemError = (code: string, port: number) => Object.assign(new Error(code), { code, port });

test.each([
  ["EADDRINUSE", 7001, "another program listens on 127.0.0.1:7001", "MANAGER_GRPC_PORT"],
  ["EADDRINUSE", 7003, "another program listens on 127.0.0.1:7003", "MANAGER_HTTP_PORT"],
  ["EADDRNOTAVAIL", 7001, "cannot listen on 127.0.0.1:7001", "MANAGER_GRPC_HOST"],
])("a start that fails with %s at port %d names the variable", (code, port, message, variable) => {
  const error = startError(systemError(code, port), config);
  if (!(error instanceof CliError)) throw error;
  expect([error.message, error.hint]).toEqual([expect.stringContaining(message), expect.stringContaining(variable)]);
});
