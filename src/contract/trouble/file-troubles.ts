import type { CauseCode } from "../causes.ts";
import type { Trouble } from "./trouble.ts";

const MENDED_FILE =
  "VMs that wait take the mended host by themselves. Retry those that have failed: `drover failures retry` with the cause. A host that failed three launches in a row by its own fault pauses for a while, tries one VM, and goes on when that one runs.";

/** Ports, files and images of a host. */
export const FILE_TROUBLES = {
  port_taken: {
    sees: "The worker's log says `another process holds the port; it is set aside`. The VM itself runs, on the next port.",
    why: "A program that drover does not know of listens on a port of MANAGER_QEMU_HOST_FWD_RANGE: an API or worker of another installation, a QEMU of an old Cocos manager, or a service of the host.",
    look: "`drover doctor` names ports of the range on which others listen. On the host, with the first and last port of the range:",
    commands: ["ss -ltnp 'sport >= 6100 and sport <= 6200'", "pgrep -a qemu-system"],
    mend: "End the other program, or give the VMs a range of their own. The port is tried again after DROVER_PORT_ASIDE. A VM does not fail for that: after sixteen such ports in a row its cause is `ports_exhausted`.",
  },
  ports_exhausted: {
    sees: "VMs stay `queued` or go back to the queue with this cause, while the host has free slots.",
    why: "Each VM holds one port from its launch to its end. The range is smaller than MANAGER_MAX_VMS, reserved ports lie in it, or other programs listen on many of its ports.",
    look: "`drover hosts HOST` shows the range and the VMs. `drover doctor` counts the ports that others hold, and names those that are held for a launch that is not there (`port_unused`).",
    commands: ["drover doctor", "ss -ltn 'sport >= 6100 and sport <= 6200' | wc -l"],
    mend: "A range that is twice as wide as MANAGER_MAX_VMS leaves room for ports that are set aside. `drover doctor --fix` gives back ports that nobody uses.",
  },
  kernel_missing: {
    sees: "QEMU says `could not open kernel file '...': No such file or directory` or `Permission denied`. It happens on one host and not on others.",
    why: "The path is wrong or relative (it begins where the worker was started), the image was not copied to this host, or the user of QEMU may not read it or enter a directory above it.",
    look: "`drover get ID --forensics` shows the path and why there is no digest of it (`ENOENT`: not there; `EACCES`: not permitted). As the user that QEMU runs as:",
    commands: ["drover doctor", "namei -l /path/to/bzImage"],
    mend: MENDED_FILE,
  },
  kernel_invalid: {
    sees: "QEMU says `invalid kernel header`, `linux kernel too old` or `Error loading uncompressed kernel without PVH ELF Note`.",
    why: "The file is no kernel that this firmware boots: it was cut off while it was copied, is packed, or is a vmlinux where OVMF wants a bzImage.",
    look: "Compare the digest in `drover get ID --forensics` with that of a host on which it works, and look at the file:",
    commands: ["file /path/to/bzImage", "sha256sum /path/to/bzImage"],
    mend: "Copy the file again, to a new name that is then moved into place, so that no VM reads half of it. The VM is not tried elsewhere by itself: retry it with `drover failures retry`.",
  },
  initrd_missing: {
    sees: "QEMU says `error reading initrd ...: Failed to open file`.",
    why: "As with the kernel: a wrong path, a file that is not on this host, or one that QEMU's user may not read.",
    look: "`drover get ID --forensics` shows the path and why it could not be read.",
    commands: ["drover doctor", "namei -l /path/to/rootfs.cpio.gz"],
    mend: MENDED_FILE,
  },
  firmware_missing: {
    sees: "QEMU says `Could not open '...OVMF_CODE.fd'`, `could not load PC BIOS` or that an IGVM file cannot be read; or the copy of the firmware's variables could not be made.",
    why: "The package with the firmware is not installed, or its files have other names in this distribution. SEV-SNP hosts need an IGVM file, which is built and not installed.",
    look: "Which files this host's VMs are given, and where the package has put them:",
    commands: ["drover explain", "dpkg -L ovmf | grep fd$"],
    mend: `Debian and Ubuntu: \`apt install ovmf\`. Or set DROVER_FIRMWARE=seabios for guests without UEFI. ${MENDED_FILE}`,
  },
  disk_source_missing: {
    sees: "The failure names the file of MANAGER_QEMU_SRC_DISK_FILE, before QEMU was started or when it opened the disk.",
    why: "The image is not on this host, lies on a file system that is not mounted yet, or may not be read.",
    look: "`drover get ID --forensics` shows the path and the problem.",
    commands: ["findmnt -T /path/to/disk.qcow2", "qemu-img info /path/to/disk.qcow2"],
    mend: `With DROVER_DISK_MODE=overlay the image must stay there while VMs run that began from it. ${MENDED_FILE}`,
  },
  image_invalid: {
    sees: "QEMU or qemu-img says `Image is not in qcow2 format`, `Could not read ... header`, `combined size of system firmware exceeds` or `Unable to parse IGVM file`.",
    why: "MANAGER_QEMU_DISK_FORMAT or the firmware's format does not fit the file, the file was cut off while it was copied, or it was written to while it was in use.",
    look: "Compare the digest in `drover get ID --forensics` with that of the place that the image came from.",
    commands: [
      "qemu-img info /path/to/disk.qcow2",
      "qemu-img check /path/to/disk.qcow2",
      "sha256sum /path/to/disk.qcow2",
    ],
    mend: "Put the right file there, under a new name that is moved into place. The VM is not tried again by itself: retry it.",
  },
  disk_full: {
    sees: "`No space left on device` from QEMU, qemu-img or the worker. A VM that runs may stop for want of space (`paused`, io-error) and goes on by itself when there is some again.",
    why: "Disks of VMs (overlays grow), logs or something else on the same file system have taken what DROVER_STATE_DIR needs.",
    look: "How much is free, of bytes and of inodes, and who has it:",
    commands: ["df -h /var/lib/drover && df -i /var/lib/drover", "du -xsh /var/lib/drover/*"],
    mend: "Make room, or give the state directory a file system of its own. Do not delete below `vms/` by hand: `drover doctor --fix` knows what nobody needs.",
  },
  disk_locked: {
    sees: 'QEMU says `Failed to get "write" lock` and `Is another process using the image`.',
    why: "The source image is open for writing in another QEMU, in qemu-nbd or in a program that edits it; or a QEMU of the same VM still lives that drover does not know of.",
    look: "Who has the file open:",
    commands: ["fuser -v /path/to/disk.qcow2", "pgrep -a qemu-system"],
    mend: "End that program, or work on a copy of the image. The VM is tried again after its backoff.",
  },
  state_dir_unusable: {
    sees: "`cannot initialize fsdev`, `Failed to bind socket`, `cannot create PID file`, or that the path of the monitor socket is too long.",
    why: "DROVER_STATE_DIR does not belong to the worker's user, is mounted read-only, has a path that is too long for a socket, or QEMU's user may not enter it.",
    look: "`drover doctor` checks owner, mode and space. The mount may be read-only after an error of the disk:",
    commands: ["drover doctor", "findmnt -no OPTIONS -T /var/lib/drover", "dmesg --level=err | tail"],
    mend: "Give the directory to the worker's user with mode 0700 (0711 with DROVER_QEMU_USER), and keep its path short.",
  },
} as const satisfies Partial<Record<CauseCode, Trouble>>;
