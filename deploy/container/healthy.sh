#!/bin/sh
# Whether the API or the worker of this container answers on its own /health.
set -eu
case "$1" in
  api) address="${MANAGER_HTTP_HOST:-127.0.0.1}:${MANAGER_HTTP_PORT:-7003}" ;;
  worker) address="${DROVER_WORKER_METRICS:-127.0.0.1:7004}" ;;
esac
exec node --eval '
fetch(`http://${process.argv[1]}/health`, { signal: AbortSignal.timeout(4_000) }).then(
  ({ ok }) => process.exit(ok ? 0 : 1),
  () => process.exit(1),
)' "$address"
