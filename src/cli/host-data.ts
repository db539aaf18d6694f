import { hostDataOf, hostDataText } from "../attestation/host-data.ts";
import { splitRequest } from "../contract/vm-request.ts";
import type { HostDataFlags } from "./host-data-command.ts";
import { requestFromFlags } from "./request-from-flags.ts";
import { checkRequest, readRequests } from "./request-input.ts";
import { jsonLine } from "./session.ts";
import type { CliContext } from "./terminal.ts";

/** `drover hostdata`: one line for each request. The text of a single one has no line end, so that it can be piped. */
export async function showHostData(
  context: CliContext,
  options: HostDataFlags & { readonly json: boolean },
): Promise<void> {
  const flags = await requestFromFlags(options, context);
  const { file } = options;
  const requests =
    file === undefined ? [{ request: checkRequest({}, flags, "this") }] : await readRequests(file, flags, context);
  for (const { request } of requests) {
    const { spec } = splitRequest(request);
    const hostData = hostDataOf(spec);
    const text = hostDataText(spec);
    const [hex, base64] = [hostData.toString("hex"), hostData.toString("base64")];
    if (options.json) await context.terminal.out(jsonLine({ hostData: hex, base64, text }));
    else if (options.text === true) await context.terminal.out(requests.length === 1 ? text : `${text}\n`);
    else await context.terminal.out(`${options.base64 === true ? base64 : hex}\n`);
  }
}
