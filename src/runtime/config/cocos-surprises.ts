import type { FieldProblem } from "../../contract/errors.ts";
import type { Config, ListenerConfig } from "../config-shape.ts";
import { isLoopbackHost } from "../redis-url.ts";

/** Values that the Cocos manager takes as well, and makes something else of. */
export function cocosSurprises({ http, grpc, grpcCalls, insecure, teeWish }: Config): readonly FieldProblem[] {
  const open = (listener: ListenerConfig) => !isLoopbackHost(listener.host) && listener.clientCaCerts === "";
  const warnings: FieldProblem[] = [];
  if (open(http)) {
    warnings.push({
      field: "MANAGER_HTTP_HOST",
      message: insecure
        ? `${http.host} is open to other machines, and DROVER_INSECURE lets whoever reaches it start and remove VMs.`
        : `${http.host} is open to other machines: drover listens there only when callers must say who they are (\`drover token add\`, or MANAGER_HTTP_CLIENT_CA_CERTS), or with DROVER_INSECURE=true. Cocos asks nobody.`,
    });
  }
  if (open(grpc) && !insecure && grpcCalls.anonymous === "none") {
    warnings.push({
      field: "MANAGER_GRPC_HOST",
      message: `${grpc.host} is open to other machines, so cocos-cli, which has no token, needs a client certificate (MANAGER_GRPC_CLIENT_CA_CERTS), or DROVER_GRPC_ANONYMOUS=submitter. Cocos asks nobody.`,
    });
  }
  for (const [field, label, wish] of [
    ["MANAGER_QEMU_ENABLE_SEV_SNP", "SEV-SNP", teeWish.enableSevSnp],
    ["MANAGER_QEMU_ENABLE_TDX", "TDX", teeWish.enableTdx],
  ] as const) {
    if (wish !== false) continue;
    const message = `false really switches ${label} off: VMs are not ${label} guests even where the host could make them. Cocos never reads this name; unset it to take what the host has, as Cocos does.`;
    warnings.push({ field, message });
  }
  return warnings;
}
