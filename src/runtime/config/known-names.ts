/** Names that drover knows and gives no value of its own to, each with the reason. */
export interface KnownName {
  readonly name: string;
  /** `unread`: nothing ever read it; `client`: cocos-cli reads it; `perVm`: set for each VM, so no setting of the host. */
  readonly kind: "unread" | "client" | "perVm";
  /** One sentence; stands in the warning and in the docs. */
  readonly reason: string;
}

export const KNOWN_NAMES: readonly KnownName[] = [
  {
    name: "MANAGER_ATTESTATION_POLICY_BINARY",
    kind: "unread",
    reason:
      "The shipped cocos-manager.env sets it and nothing reads it; the real name is MANAGER_ATTESTATION_POLICY_BINARY_PATH.",
  },
  {
    name: "MANAGER_IGVMMEASURE_BINARY",
    kind: "unread",
    reason:
      "The shipped cocos-manager.env sets it and nothing reads it; igvmmeasure is looked for in MANAGER_ATTESTATION_POLICY_BINARY_PATH.",
  },
  {
    name: "MANAGER_GRPC_TIMEOUT",
    kind: "unread",
    reason: "The shipped cocos-manager.env sets it and no server reads it; cocos-cli parses it and sets no deadline.",
  },
  {
    name: "MANAGER_GRPC_CLIENT_CERT",
    kind: "client",
    reason: "A variable of cocos-cli: its own certificate.",
  },
  {
    name: "MANAGER_GRPC_CLIENT_KEY",
    kind: "client",
    reason: "A variable of cocos-cli: the key of its certificate.",
  },
  {
    name: "MANAGER_QEMU_CERTS_MOUNT",
    kind: "perVm",
    reason: "Every VM gets a directory of its own, as in Cocos; the value has no effect.",
  },
  {
    name: "MANAGER_QEMU_ENV_MOUNT",
    kind: "perVm",
    reason: "Every VM gets a directory of its own, as in Cocos; the value has no effect.",
  },
];

/** Set by hand all VMs would write to one disk, so it is refused. Cocos overwrites it for every VM. */
export const REFUSED_DISK_NAME = "MANAGER_QEMU_DST_DISK_FILE";
