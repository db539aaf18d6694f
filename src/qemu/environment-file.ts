import { LaunchFailure } from "../contract/causes.ts";
import { decodeFileBytes, type VmSecrets, type VmSpec } from "../contract/vm-request.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

/** What systemd's reader would change in an unquoted value: quotes at its start, backslashes, blanks at its ends. */
const NEEDS_QUOTES = /^[ \t'"]|\\|[ \t]$/;

/** The PEM files of the guest; an absent one is 0 bytes long. */
export interface GuestCertificates {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** The bytes of the three certificate fields of a request. */
export function guestCertificates(spec: VmSpec, secrets: VmSecrets): GuestCertificates {
  return {
    cert: decodeFileBytes(spec.agentCvmClientCert ?? ""),
    key: decodeFileBytes(secrets.agentCvmClientKey ?? ""),
    ca: decodeFileBytes(spec.agentCvmServerCaCert ?? ""),
  };
}

/**
 * The guest's `environment` file: the variables of the Cocos manager under the same conditions, one line each, in a
 * fixed order (Cocos has a random one). The paths are those inside the guest.
 * Throws LaunchFailure `spec_invalid` for a value with a control character, which could add a line.
 */
export function environmentFile(vmId: string, spec: VmSpec, secrets: VmSecrets): string {
  const { cert, key, ca } = guestCertificates(spec, secrets);
  const always: [string, string | undefined][] = [
    ["AGENT_LOG_LEVEL", spec.agentLogLevel],
    ["AGENT_CVM_GRPC_URL", spec.agentCvmServerUrl],
    ["AGENT_CVM_ID", vmId],
    ["AGENT_CERTS_TOKEN", secrets.agentCertsToken],
    ["AGENT_CVM_CA_URL", spec.agentCvmCaUrl],
  ];
  const whenGiven: [string, string | undefined][] = [
    ["AGENT_CVM_GRPC_CLIENT_CERT", cert.length > 0 ? "/etc/certs/cert.pem" : undefined],
    ["AGENT_CVM_GRPC_CLIENT_KEY", key.length > 0 ? "/etc/certs/key.pem" : undefined],
    ["AGENT_CVM_GRPC_SERVER_CA_CERTS", ca.length > 0 ? "/etc/certs/ca.pem" : undefined],
    ["AWS_ACCESS_KEY_ID", secrets.awsAccessKeyId],
    ["AWS_SECRET_ACCESS_KEY", secrets.awsSecretAccessKey],
    ["AWS_ENDPOINT_URL", spec.awsEndpointUrl],
    ["AWS_REGION", spec.awsRegion],
  ];
  const lines = [...always, ...whenGiven.filter(([, value]) => value !== undefined && value !== "")];
  return lines.map(([name, value]) => `${name}=${quoteEnvironmentValue(name, value ?? "")}\n`).join("");
}

/**
 * A value as systemd's EnvironmentFile= reads it back unchanged (systemd.exec(5); the reader is
 * parse_env_file_internal of systemd's src/basic/env-file.c). Plain values stay as Cocos writes them, byte for byte;
 * a value that the reader would change is double-quoted with `"`, backslash, backtick and `$` escaped.
 */
export function quoteEnvironmentValue(name: string, value: string): string {
  if (CONTROL_CHARACTER.test(value)) {
    throw new LaunchFailure(
      "spec_invalid",
      `${name} holds a control character, which the environment file cannot carry`,
    );
  }
  return NEEDS_QUOTES.test(value) ? `"${value.replace(/["\\`$]/g, "\\$&")}"` : value;
}
