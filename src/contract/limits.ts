/** Every bound that a user can meet, with its reason. Units stand last in the names. */

/** One request, secrets and certificates included; a Cocos client sends at most a few PEM files. */
export const REQUEST_MAX_BYTES = 256 * 1024;
/** A PEM file (a chain of certificates fits). */
export const PEM_MAX_BYTES = 64 * 1024;
/** URLs, tokens and keys that end as one line of the guest's environment file. */
export const ENVIRONMENT_VALUE_MAX_CHARS = 4096;
/** KBS parameters stand on the kernel command line, of which Linux x86 reads 2047 bytes in all. */
export const KBS_PARAMS_MAX_CHARS = 256;
export const KERNEL_CMDLINE_MAX_CHARS = 2047;
export const LABELS_MAX_COUNT = 32;
export const LABEL_KEY_MAX_CHARS = 63;
export const LABEL_VALUE_MAX_CHARS = 255;
export const NAME_MAX_CHARS = 128;
export const POOL_MAX_CHARS = 40;
/** Names of memory classes, and names and values of host labels: they stand in names of queues. */
export const MEMORY_CLASS_MAX_CHARS = 20;
export const HOST_LABEL_MAX_CHARS = 30;
/** Labels that one request may ask of its host: each combination is a queue of its own. */
export const NEEDED_LABELS_MAX = 4;
/** Subjects of certificates become owners, and they are long. */
export const OWNER_MAX_CHARS = 200;
/** What an operator writes beside a token, to know it again. */
export const TOKEN_LABEL_MAX_CHARS = 100;
export const IDEMPOTENCY_KEY_MAX_CHARS = 255;
export const PROBE_TEXT_MAX_CHARS = 200;
/** TTL, queue and boot limits: a year is longer than any computation and far below timer and Redis limits. */
export const DURATION_MAX_MS = 365 * 24 * 3600 * 1000;
export const ATTEMPTS_MAX = 20;
/** What a VM may hand back over `drover.result`. */
export const RESULT_MAX_BYTES = 64 * 1024;
/** What is kept of console and QEMU output in a VM's result. */
export const TAIL_MAX_LINES = 200;
export const TAIL_MAX_BYTES = 64 * 1024;
/** Failed launches of which the details are kept, the newest ones. */
export const FORENSICS_KEPT = 5;
/** What the details of one failed launch may take, all in all. */
export const FORENSICS_MAX_BYTES = 16 * 1024;
/** VMs that one call retries or dismisses; the answer says how to go on. */
export const FAILURE_STEP_VMS = 500;
/** What Redis holds of a live VM's console. */
export const LIVE_CONSOLE_MAX_BYTES = 64 * 1024;
export const LIST_PAGE_MAX = 500;
export const LIST_PAGE_DEFAULT = 50;
/** `Prefer: wait=N` is cut to this, so that a client's open request is always bounded. */
export const PREFER_WAIT_MAX_S = 600;
/** BullMQ's own ceiling of a job priority (21 bits). */
export const PRIORITY_MAX = 2_097_151;
/** sun_path holds 107 bytes; below the state directory stand vms/<uuid>/<epoch>/qmp-rescue.sock. */
export const STATE_DIR_MAX_BYTES = 44;
/** Requests of one batch; the index of one stands in eight hex digits of its VM's id. */
export const BATCH_ITEMS_MAX = 100_000;
/** A batch's id is a UUID without its first group. */
export const BATCH_ID_CHARS = 27;
/** What the answer to a refused batch lists of its bad lines. */
export const BATCH_PROBLEMS_MAX = 1_000;
/** Records of a VM's launches that are kept in its record. */
export const LAUNCHES_KEPT = 20;
/** What an operator writes beside a cordon, for whoever wonders later. */
export const HOST_NOTE_MAX_CHARS = 200;
/** A host that left without a VM and is not wanted otherwise is forgotten after this time. */
export const HOST_GONE_KEPT_MS = 24 * 3600 * 1000;
/** VMs whose ids the view of one host lists; all of them are in the list of VMs. */
export const HOST_VMS_SHOWN = 100;

/** So many workers that died while they launched one VM, within the window, and it fails for good as `poisoned`. */
export const POISON_CRASHES = 3;
export const POISON_WINDOW_MS = 10 * 60_000;
