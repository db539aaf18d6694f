/** What goes wrong around VMs rather than in one of them, and what works for any of them. Markdown. */

export const FIRST_STEPS = `## First steps

\`\`\`sh
drover failures                 # what failed, by cause and host, with what to do
drover failures --since 24h
drover get ID                   # one VM: cause, launches, last lines
drover get ID --forensics       # each failed launch: command, files with digests, exit, last lines
drover hosts                    # which hosts live, and which of them pause after failures
\`\`\`

Then \`drover doctor\` on the host of the failure, with the worker's environment and as the worker's user: it finds most
of what is below and changes nothing ([doctor.md](doctor.md)).

When it is mended: \`drover failures retry --cause CAUSE --host HOST\` puts all VMs of a group back into the queue,
\`drover failures dismiss\` takes them off the list, and \`drover retry ID\` is for a single one. Secrets of a failed VM
are kept for DROVER_KEEP_FAILED_SECRETS; after that it cannot be retried and has to be submitted again.

What \`drover failures\` counts: FAILED are VMs that failed for good; AGAIN are VMs of which a launch failed and that
drover launched again by itself. A host with a high AGAIN and no FAILED costs time and nothing else yet.`;

export const CASES = `## Leftover and defunct QEMU processes

Every QEMU of drover's names its VM: \`-uuid ID\` and \`-name drover-ID-LAUNCH\` stand on its command line. A QEMU may
well run without a worker: VMs outlive it, and the next worker takes them over. So look before you end one.

\`\`\`text
pgrep -af 'drover-[0-9a-f-]{36}-[0-9]+'        # all QEMUs of drover's on this host
pgrep -af "drover-$ID-"                        # those of one VM
drover get $ID                                 # what drover says of it
drover doctor                                  # compares every process with Redis and the disk
drover doctor --fix                            # ends what has no right to live, asking first
\`\`\`

\`drover doctor --fix\` ends a QEMU only where its VM has ended, is at a later launch, or is to be removed. One that Redis
has forgotten (\`process_unknown\`) is no leftover: the worker tells Redis of it again. One whose directory is gone
(\`process_without_directory\`) nobody can take over; end it yourself: \`kill PID\`, and \`kill -9 PID\` if it does not go.

A process that \`ps\` shows as \`<defunct>\` (state \`Z\`) has ended already: it holds no memory, port or file, only its
line in the process table, until its parent asks how it ended. A worker does that at once. Where such lines stay, the
parent is somebody else: in a container without an init process as number 1, start it with \`--init\` (Docker) or
\`init: true\` (compose). A process in state \`D\` waits for storage or a device and cannot be ended by any signal: mend
what it waits for (\`ps -o pid,stat,wchan:30,args -p PID\`).

The Cocos manager had no way to find such processes: it counted QEMUs that had ended, and after a restart it could not
stop those that it found. A QEMU of an old Cocos manager has no \`-uuid\`; drover leaves it alone, and it may hold ports
of the range: \`pgrep -a qemu-system\`, then end it by hand.

## Run the command by hand

\`drover get ID --command\` prints the QEMU command of the last launch as one line for a shell, with the key broker's
parameters masked. \`drover explain\` prints the one that this host would use now. Four things of it are gone when the VM
has ended, or belong to drover: the directory of the launch (shares, sockets, pid file, disk, firmware variables), the
port, the console (drover reads it from QEMU's memory), and \`-no-shutdown\`, which keeps QEMU there after the guest's end.
This gives the command a directory of its own, any free port, and your terminal as the console:

\`\`\`text
dir=$(mktemp -d) && mkdir "$dir/env" "$dir/certs"
drover get $ID --command | sed -E \\
  -e "s#/[^ ,'=]*/vms/[0-9a-f-]{36}/[0-9]+/#$dir/#g" \\
  -e 's#hostfwd=tcp:[0-9.]*:[0-9]+-#hostfwd=tcp:127.0.0.1:0-#' \\
  -e 's#-serial chardev:[a-z0-9.-]+#-serial stdio#' \\
  -e 's# -no-shutdown##' > "$dir/command"
# with a disk:  qemu-img create -f qcow2 -F qcow2 -b SOURCE "$dir/disk.qcow2"
# with OVMF:    cp /usr/share/OVMF/OVMF_VARS.fd "$dir/OVMF_VARS.fd"
sh "$dir/command"
\`\`\`

- Run it as the user that QEMU runs as, from the directory that the worker was started in: relative paths count from
  there. sudo and systemd-run, where the worker uses them, are not part of the command.
- drover starts QEMU without \`-daemonize\`; leave it so, else its messages go to nobody.
- To see what the guest does before its console works, add \`-d guest_errors,cpu_reset -D $dir/qemu.log\`.
- A guest that wants its certificates and tokens finds an empty share here: put files into \`$dir/env\` and \`$dir/certs\`
  as it needs them. Secrets that were masked in the command have to be put back by hand.
- End it with Ctrl-C, then \`rm -r "$dir"\`. Do not use \`-uuid\` and \`-name\` of a VM that still runs: the worker of this
  host takes any process with them for its own.

## No KVM

\`\`\`text
grep -cE 'vmx|svm' /proc/cpuinfo    # 0: switched off in the firmware, or a VM without nested virtualisation
lsmod | grep kvm                    # empty: modprobe kvm_amd, or kvm_intel
ls -l /dev/kvm                      # the group is kvm: usermod -aG kvm drover
\`\`\`

In a container, /dev/kvm must be passed in (\`--device /dev/kvm\`) and its group be one of the worker's. A cloud VM needs
nested virtualisation, which some kinds of machines have and others do not. Without any of it
\`MANAGER_QEMU_ENABLE_KVM=false\` runs guests in software: good enough to try drover, ten times slower and no place for
confidential VMs.

## The TEE is not there

\`drover doctor\` goes through what SEV-SNP and TDX need, in the order in which it must be mended: processor, firmware,
kernel, QEMU, permission, keys. [confidential.md](confidential.md) says what each side needs. The usual gaps:

- the firmware has SEV-SNP or TDX switched off, or no ASIDs set aside (\`minimum SEV non-ES ASID\` must be above 1);
- the kernel is older than 6.11 (SEV-SNP) or 6.16 (TDX), or its module has it off: \`cat /sys/module/kvm_amd/parameters/sev_snp\`;
- QEMU is older than 10.1, as most distributions' own packages are;
- \`/dev/sev\` is for root only.

A request with \`tee\` waits for a host that has it, and the answer to it warns when none lives.

## A port is taken

drover asks the system before each launch, sets a port that somebody else holds aside for DROVER_PORT_ASIDE, and takes
the next one; the VM does not notice. Where it happens all the time, the range overlaps with another program's, or with
the ports that the system gives to outgoing connections (\`cat /proc/sys/net/ipv4/ip_local_port_range\`): choose a range
below them.

## The disk is full

A worker whose state directory has no space launches nothing and gives jobs back, so that other hosts take them. VMs that
run go on; one that needs more disk stops (\`paused\`) and goes on when there is space again, and where that takes too long
it ends with cause \`disk_full\`. Make room first, then look at what is left with \`drover doctor\`. Never delete below
\`vms/\` by hand while VMs run: what is there is the disk of a VM, or the only note of how it ended.

## Redis is away

The API answers 503 (\`redis_unavailable\`), workers launch nothing, and VMs run on. What ends meanwhile is on the disk of
its host and is told when Redis is back. Nothing has to be done to VMs or workers: start Redis, with its data.

\`\`\`text
redis-cli -u "$DROVER_REDIS_URL" ping
systemctl status redis-server && journalctl -u redis-server -n 50
drover doctor                       # reads as much as it can without Redis, and says what keeps it away
\`\`\`

- \`LOADING\`: it reads its data; wait.
- \`MISCONF\`, \`No space left\`: its disk is full; make room, and it goes on.
- \`OOM command not allowed\`: its \`maxmemory\` is too low; raise it. VMs can still be removed.
- \`NOAUTH\`, \`WRONGPASS\`, certificates: see [redis.md](redis.md).
- It came back empty, or with older data: [operate.md](operate.md#a-redis-that-was-away-or-has-lost-data).`;
