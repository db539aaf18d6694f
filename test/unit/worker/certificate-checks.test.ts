import { afterAll, expect, test } from "vitest";
import { loadConfig } from "../../../src/runtime/config/load-config.ts";
import { certificateChecks } from "../../../src/worker/doctor/certificate-checks.ts";
import { openCertificates, type TestCertificate } from "../../helpers/certificates.ts";

const pki = openCertificates();
afterAll(() => pki[Symbol.asyncDispose]());

test("doctor says how the listeners' certificates stand", async () => {
  const ca = await pki.authority("/CN=ca");
  const [good, short] = [await ca.issue({ subject: "/CN=a" }), await ca.issue({ subject: "/CN=b", days: 5 })];
  const checksOf = (http: TestCertificate, grpc: Partial<TestCertificate> = {}) => {
    const { config } = loadConfig({
      MANAGER_HTTP_SERVER_CERT: http.certFile,
      MANAGER_HTTP_SERVER_KEY: http.keyFile,
      MANAGER_GRPC_SERVER_CERT: grpc.certFile,
      MANAGER_GRPC_SERVER_KEY: grpc.keyFile,
    });
    return certificateChecks(config, Date.now()).map(({ id, status, todo = "" }) => [id, status, todo]);
  };
  expect(certificateChecks(loadConfig({}).config, Date.now())).toEqual([]);
  expect(checksOf(good)).toEqual([["http_certificate", "ok", ""]]);
  expect(checksOf(short, { certFile: good.certFile, keyFile: short.keyFile })).toEqual([
    ["http_certificate", "warning", expect.stringContaining("Renew the files")],
    ["grpc_certificate", "problem", expect.stringContaining("MANAGER_GRPC_SERVER_KEY: the key does not belong")],
  ]);
});
