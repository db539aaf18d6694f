# QEMU's user network gives out exactly this address, so no DHCP client is needed to know it.
ADDRESS=10.0.2.15
AGENT_PORT=7002

# The agent listens before the interface is up: whoever probes is then answered or not heard, but never refused.
# -l counts as often as it is given, and busybox takes the number as the length of the queue of connections.
start_agent() {
  DROVER_ANSWER="agent ok $cvm_id" nc -llllllll -p $AGENT_PORT -e /bin/answer &
  ifconfig lo 127.0.0.1 up
  if ifconfig eth0 $ADDRESS netmask 255.255.255.0 up 2>/dev/null; then
    route add default gw 10.0.2.2
    say "agent answers on $ADDRESS:$AGENT_PORT"
  else
    say "no network"
  fi
}

# Before a power-off or reboot. The kernel takes the bus from its devices then, and a virtio-net driver that is just about
# to send waits for ever for a device that cannot see its queue: without this one power-off in ten hung.
stop_network() { ifconfig eth0 down 2>/dev/null; }

# Whether anybody has been answered yet.
answered() { [ -e /run/answered ]; }
