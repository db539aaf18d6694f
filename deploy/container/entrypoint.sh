#!/bin/sh
# Starts drover in its container: `api`, `worker` and every other command of it.
set -eu

# The API makes the key that secrets are sealed with, once; the workers read the same file.
if [ "${1-}" = api ] && [ -n "${DROVER_SECRETS_KEY_FILE-}" ] && [ ! -e "$DROVER_SECRETS_KEY_FILE" ]; then
  node /opt/drover/bin/drover key new --file "$DROVER_SECRETS_KEY_FILE" >&2
fi

# Without KVM, QEMU emulates: slow, and good for a trial. A device that is only called kvm does not count (10:232 is KVM's).
if [ "${1-}" = worker ] && [ -z "${MANAGER_QEMU_ENABLE_KVM-}" ]; then
  if [ "$(stat -c %t:%T /dev/kvm 2>/dev/null)" != a:e8 ] || [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
    echo "no KVM in this container: VMs are emulated (TCG)" >&2
    export MANAGER_QEMU_ENABLE_KVM=false
  fi
fi

exec node /opt/drover/bin/drover "$@"
