import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { decodeFileBytes, type VmSecrets } from "../contract/vm-request.ts";
import { ConsoleWatch } from "../qemu/console-watch.ts";
import type { RingChunk } from "../qemu/ring-reader.ts";
import type { VmOutputs } from "../qemu/vm-outputs.ts";
import type { LiveConsole } from "../queue/live-console.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import { boxKeyId, openSealed } from "../runtime/sealing.ts";
import type { Tracer } from "../runtime/tracing/tracer.ts";
import { ConsolePublisher } from "./console-publisher.ts";
import type { Launch } from "./launch.ts";
import { LaunchTrace } from "./launch-trace.ts";
import type { LiveQemu } from "./machine.ts";
import { SecretMask } from "./secret-mask.ts";
import { StalledDisk } from "./stalled-disk.ts";
import type { Stores } from "./stores.ts";
import type { SuperviseDeps } from "./supervise-vm.ts";

export interface HandDeps extends Pick<SuperviseDeps, "clock">, Pick<Stores, "launches"> {
  readonly keyRing: KeyRing;
  readonly console: Pick<LiveConsole, "append">;
  readonly tracer: Tracer;
  readonly logger: Logger;
}

/** What belongs to one launch in this process and is given back at its end: QEMU, the way of its console, its mask. */
export class VmHand {
  qemu: LiveQemu | undefined;
  readonly trace: LaunchTrace;
  readonly stalled: StalledDisk;
  /** Looks for the text of the request's probe. */
  readonly watch: ConsoleWatch | undefined;
  readonly #publisher: ConsolePublisher;
  #mask = new SecretMask([]);
  /** Set when the secrets of a VM that was taken over are unknown: then nobody can say what must be masked. */
  #withheld = false;

  constructor(deps: HandDeps, launch: Launch) {
    const { identity, spec } = launch;
    const { vmId, token } = identity;
    this.trace = new LaunchTrace(deps.tracer, launch);
    this.stalled = new StalledDisk({ clock: deps.clock, logger: deps.logger, vmId });
    this.watch = spec.probe?.type === "console" ? new ConsoleWatch(spec.probe.text) : undefined;
    this.#publisher = new ConsolePublisher({ console: deps.console, vmId, token, logger: deps.logger });
  }

  get mask(): SecretMask {
    return this.#mask;
  }

  maskBy(secrets: VmSecrets): void {
    this.#mask = new SecretMask(secretTexts(secrets));
  }

  withholdOutput(): void {
    this.#withheld = true;
  }

  readonly onConsole = (chunk: RingChunk): void => {
    this.watch?.feed(chunk);
    if (this.#withheld) return;
    // How much is missing at a gap, nobody knows.
    this.#publisher.push(this.#mask.push(chunk.bytes, { afterGap: chunk.skipped }), chunk.skipped ? 1 : 0);
  };

  maskText = (text: string): string => (this.#withheld ? WITHHELD : this.#mask.maskText(text));

  masked(outputs: VmOutputs): VmOutputs {
    const { console, qemu, qmpEvents = [] } = outputs;
    return {
      ...outputs,
      console: this.maskText(console),
      qemu: this.maskText(qemu),
      qmpEvents: qmpEvents.map((event) => ({ ...event, data: this.maskText(event.data) })),
    };
  }

  /** No piece of the console follows. */
  close(): void {
    this.#publisher.close();
  }
}

const WITHHELD = "[drover: withheld, because the secrets to be masked in it could not be opened]";

/** Throws LaunchFailure `secret_unreadable`. */
export async function openSecrets({ launches, keyRing }: HandDeps, launch: Launch): Promise<VmSecrets> {
  const { identity, owner, hasSecrets } = launch;
  if (!hasSecrets) return {};
  let sealed = await launches.sealedSecrets(identity.vmId);
  if (sealed !== undefined && keyRing.current?.byId.has(boxKeyId(sealed)) !== true) {
    // In a change of the key: the API may have it before this host, or the box has just been sealed again.
    await keyRing.refresh();
    sealed = await launches.sealedSecrets(identity.vmId);
  }
  if (sealed === undefined) throw new LaunchFailure("secret_unreadable", "the sealed secrets are gone from Redis");
  return openSealed(keyRing.current, { owner, vmId: identity.vmId }, sealed);
}

/** Every form in which a secret could be printed: as it was sent, and as the file that the guest finds. */
function secretTexts(secrets: VmSecrets): readonly string[] {
  const sent = Object.values(secrets).filter((value) => value !== undefined);
  const { agentCvmClientKey: key } = secrets;
  return key === undefined ? sent : [...sent, decodeFileBytes(key).toString("utf8")];
}
