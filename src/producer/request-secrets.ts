import { DroverError, type FieldProblem } from "../contract/errors.ts";
import type { VmSecrets } from "../contract/vm-request.ts";
import type { Config } from "../runtime/config-shape.ts";
import { type SealedFor, sealSecrets } from "../runtime/sealing.ts";
import type { SecretKeys } from "../runtime/secret-keys.ts";

/** What is wrong with secrets that are as they should be, on this very server. */
export function problemOfSecrets({ qemu }: Pick<Config, "qemu">, secrets: VmSecrets): FieldProblem | undefined {
  if (!qemu.enableDisk || (secrets.aaKbsParams ?? "") === "") return undefined;
  const message =
    "has no effect with MANAGER_QEMU_ENABLE_DISK=true: the kernel command line is inside the disk; leave it out";
  return { field: "aaKbsParams", message };
}

/** Seals secrets for Redis. Throws `secrets_key_missing` where this server has no key. */
export function sealForRedis(keys: SecretKeys | undefined, sealedFor: SealedFor, secrets: VmSecrets): string {
  if (keys !== undefined) return sealSecrets(keys, sealedFor, secrets);
  const names = Object.keys(secrets).join(", ");
  throw new DroverError(
    "secrets_key_missing",
    `the request holds secrets (${names}) and this server has no key to seal them; set DROVER_SECRETS_KEY or DROVER_SECRETS_KEY_FILE for API and workers`,
  );
}
