import type { FieldProblem } from "../../contract/errors.ts";
import type { Config, ListenerConfig } from "../config-shape.ts";
import { forwardBindOf } from "../forward-bind.ts";
import { isLoopbackHost } from "../redis-url.ts";

/** Values that the Cocos manager takes as well, and makes something else of. */
export function cocosSurprises(config: Config): readonly FieldProblem[] {
  const { http, grpc, grpcCalls, insecure, teeWish } = config;
  const open = (listener: ListenerConfig) => !isLoopbackHost(listener.host) && listener.clientCaCerts === "";
  const warnings: FieldProblem[] = [];
  const toAnybody = ({ host }: ListenerConfig) =>
    `${host} is open to other machines, and DROVER_INSECURE lets whoever reaches it start and remove VMs.`;
  if (open(http)) {
    warnings.push({
      field: "MANAGER_HTTP_HOST",
      message: insecure
        ? toAnybody(http)
        : `${http.host} is open to other machines: drover listens there only when callers must say who they are (\`drover token add\`, or MANAGER_HTTP_CLIENT_CA_CERTS), or with DROVER_INSECURE=true. Cocos asks nobody.`,
    });
  }
  if (open(grpc) && (insecure || grpcCalls.anonymous === "none")) {
    warnings.push({
      field: "MANAGER_GRPC_HOST",
      message: insecure
        ? toAnybody(grpc)
        : `${grpc.host} is open to other machines, so cocos-cli, which has no token, needs a client certificate (MANAGER_GRPC_CLIENT_CA_CERTS), or DROVER_GRPC_ANONYMOUS=submitter. Cocos asks nobody.`,
    });
  }
  const forwardBind = forwardBindOf(config);
  if (config.forwardBind === undefined && forwardBind !== undefined && !isLoopbackHost(grpc.host)) {
    warnings.push({
      field: "DROVER_FORWARD_BIND",
      message: `VMs' ports are bound to ${forwardBind}, since Redis is on loopback: callers on other machines reach MANAGER_GRPC_HOST=${grpc.host} and not the port that CreateVm answers. Set it to 0.0.0.0, as Cocos has it, or to ${forwardBind} if nobody calls from elsewhere.`,
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
