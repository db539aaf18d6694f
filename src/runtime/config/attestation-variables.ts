import { choice, int, line } from "./value-types.ts";
import { variable } from "./variable.ts";

/** What attestation policies say beside what was measured. */
export const ATTESTATION_VARIABLES = {
  corimCompat: variable({
    name: "DROVER_CORIM_COMPAT",
    type: choice("draft", "cocos"),
    default: "draft",
    group: "tee",
    doc: "Shape of attestation policies: tagged as draft-ietf-rats-corim has it, or untagged as Cocos's generator gives it.",
  }),
  corimSigner: variable({
    name: "DROVER_CORIM_SIGNER",
    type: line(128),
    default: "drover",
    group: "tee",
    doc: "Name of the signer in signed attestation policies.",
  }),
  corimSvn: variable({
    name: "DROVER_CORIM_SVN",
    type: int(0),
    default: "0",
    group: "tee",
    doc: "Security version number that SEV-SNP policies demand; 0 leaves it out.",
  }),
  tdxMeasurements: variable({
    name: "DROVER_TDX_MEASUREMENTS",
    type: line(),
    default: "",
    emptyMeans: "policies of TDX VMs are refused",
    group: "tee",
    doc: "JSON file with the expected mrtd, mrseam and rtmr0 to rtmr3 of this host's TDX VMs, each 96 hex digits.",
  }),
};
