import { checkAll } from "./checkers/all.ts";
import { readHistory } from "./history.ts";

for (const v of checkAll(readHistory(process.argv[2] ?? ""))) console.log(v.invariant, v.vmId ?? "", v.message);
