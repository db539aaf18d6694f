# What the guest can be asked to do: AGENT_CVM_GRPC_URL=demo:NAME[:ARGUMENT], or drover.demo=NAME[:ARGUMENT] on the
# kernel line, which wins. When a computation returns, the guest powers itself off.

choose_computation() {
  local wish= kernel_line=
  case $grpc_url in
    demo:*) wish=${grpc_url#demo:} ;;
  esac
  read -r kernel_line </proc/cmdline
  for word in $kernel_line; do
    case $word in
      drover.demo=*) wish=${word#drover.demo=} ;;
    esac
  done
  computation=${wish%%:*} argument=
  [ "$computation" = "$wish" ] || argument=${wish#*:}
  case $computation in
    "") computation=hello ;;
    hello | serve | exit | halt-in | panic | reboot | flood | silent | deaf) ;;
    *) computation=unknown ;;
  esac
}

# Sums a few numbers, then stays for two seconds and until somebody was answered, so that a readiness probe sees it.
compute_hello() {
  local sum=0 number=0 ticks=0
  while [ $number -lt 1000 ]; do
    number=$((number + 1))
    sum=$((sum + number))
  done
  say "hello from ${cvm_id:-a guest without a name}: the numbers from 1 to 1000 add up to $sum"
  hand_back 0 "hello from $cvm_id: $sum"
  while [ $ticks -lt 300 ]; do
    [ $ticks -ge 20 ] && answered && return
    sleep 0.1
    ticks=$((ticks + 1))
  done
}

compute_serve() { wait_for_ever; }
compute_deaf() { wait_for_ever; }
compute_silent() { wait_for_ever; }

compute_exit() { hand_back "${1:-0}" "asked to end with ${1:-0}"; }

compute_halt_in() { sleep "${1:-1}"; }

compute_panic() { echo c >/proc/sysrq-trigger; }

compute_reboot() {
  stop_network
  reboot -f
}

compute_unknown() {
  say "no such computation; there are hello, serve, exit:N, halt-in:SECONDS, panic, reboot, flood:MB, silent, deaf"
  hand_back 64 "no such computation"
}

# More output than any host should keep, on both ways out at once, and a valid result after it. flood:1024:8 writes 1 GB
# to the result port but 8 MB to the console, whose serial line takes only some MB a second.
compute_flood() {
  local megabytes=${1%%:*} console_megabytes=${1##*:}
  yes "a line, 64 bytes long, of which nobody will ever read them all." | head -c 1048576 >/run/block
  flood /dev/ttyS0 "$console_megabytes" &
  local console=$!
  if find_result_port && write_to_port /run/block; then flood $port "$megabytes"; fi
  wait $console
  hand_back 0 "wrote ${megabytes:-1} MB"
}

flood() { # device, megabytes
  local written=0
  while [ $written -lt "${2:-1}" ]; do
    cat /run/block
    written=$((written + 1))
  done >"$1"
}

wait_for_ever() { while :; do sleep 3600; done; }
