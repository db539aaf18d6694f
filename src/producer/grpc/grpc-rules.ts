import type { Role } from "../../contract/role.ts";

/** What a caller must be for a method; `public` asks nobody. */
export type GrpcRule = Role | "public";

/** Every method of the listener. One without a rule keeps the server from starting. */
export const GRPC_RULES: Readonly<Record<string, GrpcRule>> = {
  "/manager.ManagerService/CreateVm": "submitter",
  "/manager.ManagerService/RemoveVm": "submitter",
  "/manager.ManagerService/CVMInfo": "viewer",
  "/manager.ManagerService/AttestationPolicy": "viewer",
  "/grpc.health.v1.Health/Check": "public",
  "/grpc.health.v1.Health/Watch": "public",
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": "viewer",
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "viewer",
};

/** The rule of a method. Throws for one that has none. */
export function grpcRule(path: string): GrpcRule {
  const rule = GRPC_RULES[path];
  if (rule === undefined) throw new Error(`the gRPC method ${path} has no access rule`);
  return rule;
}

/** A method's name for people, without its service; `other` for one that there is not, which anybody may make up. */
export function methodName(path: string): string {
  return GRPC_RULES[path] === undefined ? "other" : path.slice(path.lastIndexOf("/") + 1);
}
