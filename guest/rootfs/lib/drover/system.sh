# What a distribution's start scripts would do: file systems, console, modules, shares, power button.

say() { echo "drover-guest: $*"; }

mount_kernel_filesystems() {
  mount -t devtmpfs devtmpfs /dev
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t tmpfs tmpfs /run
}

# Always the first serial port: /dev/console is nothing when the kernel line says console=null, as Cocos's does.
# The attempt stands in a subshell because a failing redirection of exec would end this shell, and with it the guest.
open_console() {
  if (: >/dev/ttyS0) 2>/dev/null; then
    exec </dev/ttyS0 >/dev/ttyS0 2>&1
  else
    exec </dev/null >/dev/null 2>&1
  fi
}

# Drivers of the virtio devices are found by what QEMU offers, so that a guest without a disk loads no disk driver.
load_modules() {
  modprobe -aq virtio_pci evdev button # virtio_pci is built into newer kernels
  [ -e /sys/bus/acpi/devices/QEMU0001:00 ] && modprobe pvpanic-mmio # only through it does QEMU hear of a panic
  local found=
  for file in /sys/bus/virtio/devices/*/modalias; do
    [ -e "$file" ] && read -r alias <"$file" && found="$found $alias"
    case $alias in
      virtio:d00000008v*) found="$found sd_mod" ;;
      virtio:d00000009v*) found="$found 9p" ;;
    esac
  done
  [ -z "$found" ] || modprobe -aq $found
}

# Same tags and places as the Cocos guest. drover offers both read-only, and QEMU then refuses writes only.
mount_shares() {
  mount_share certs_share /etc/certs
  mount_share env_share /etc/cocos
  local certificates=
  for file in /etc/certs/*; do
    [ -f "$file" ] && certificates="$certificates ${file##*/} ($(stat -c %s "$file") bytes)"
  done
  say "certificates:${certificates:- none}"
}

mount_share() {
  local options=trans=virtio,version=9p2000.L,cache=none
  mount -t 9p -o "$options" "$1" "$2" 2>/dev/null || mount -t 9p -o "ro,$options" "$1" "$2" 2>/dev/null ||
    say "share $1 is not there"
}

# The kernel looks for disks in the background.
announce_disk() {
  [ -e /sys/module/virtio_scsi ] || return 0
  local tries=20
  while [ ! -e /sys/block/sda/size ] && [ $tries -gt 0 ]; do
    sleep 0.05
    tries=$((tries - 1))
  done
  [ -e /sys/block/sda/size ] && read -r sectors </sys/block/sda/size && say "disk: sda ($((sectors / 2048)) MiB)"
}

# ACPI powerdown arrives as a key press on the input device named "Power Button"; its number differs from machine to
# machine. One event is 24 bytes.
watch_power_button() {
  local device=
  for file in /sys/class/input/event*/device/name; do
    [ -e "$file" ] && read -r name <"$file" && [ "$name" = "Power Button" ] || continue
    device=${file%/device/name}
    device=/dev/input/${device##*/}
  done
  [ -n "$device" ] || { say "no power button" && return; }
  {
    dd if=$device of=/dev/null bs=24 count=1 2>/dev/null
    say "power button pressed"
    power_off
  } &
}

power_off() {
  say "powering off"
  stop_network
  poweroff -f
  while :; do sleep 60; done # until the machine is gone
}
