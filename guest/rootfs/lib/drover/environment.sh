# Reads /etc/cocos/environment as systemd reads an EnvironmentFile, and takes from it what the guest needs.

cvm_id=
grpc_url=

# One read of the whole file: the shell reads line by line in single bytes, each of which would be a message to QEMU.
read_environment() {
  local names= contents=
  [ -f /etc/cocos/environment ] && contents=$(cat /etc/cocos/environment)
  local IFS='
'
  set -f
  for line in $contents; do
    case $line in
      [#\;]*) continue ;;
      *=*) ;;
      *) continue ;;
    esac
    case ${line%%=*} in
      AGENT_CVM_ID) unquote "${line#*=}" && cvm_id=$unquoted ;;
      AGENT_CVM_GRPC_URL) unquote "${line#*=}" && grpc_url=$unquoted ;;
    esac
    names="$names ${line%%=*}"
  done
  set +f
  say "environment:${names:- none}" # names only: values are secrets
}

# Sets `unquoted`. In double quotes a backslash escapes " \ ` $ and is itself before anything else; in single quotes
# nothing is special; outside of quotes a backslash escapes anything.
unquote() {
  local body= escaped= rest= next=
  case $1 in
    \"*) body=${1#\"} body=${body%\"*} escaped='["\\`$]' ;;
    \'*) body=${1#\'} unquoted=${body%\'*} && return ;;
    *) body=$1 escaped='?' ;;
  esac
  unquoted=
  while :; do
    case $body in
      *\\*) ;;
      *) break ;;
    esac
    unquoted=$unquoted${body%%\\*}
    body=${body#*\\}
    rest=${body#?}
    next=${body%"$rest"}
    body=$rest
    case $next in
      $escaped) unquoted=$unquoted$next ;;
      *) unquoted=$unquoted\\$next ;;
    esac
  done
  unquoted=$unquoted$body
}
