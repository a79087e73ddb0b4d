#!/bin/bash
# Dumps small processes of which each has what CRIU does not take; every log goes to /data/NAME.log, and what is
# restored by restore.sh to /data/NAME. `dump.sh NAME…` does only these.
# shellcheck disable=SC2016 # the dollars are Perl's
cd /tmp || exit 1
tcp='use IO::Socket::INET; $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => PORT, ReuseAddr => 1);'
unix='use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0);'
all="--shell-job --tcp-established --tcp-close --file-locks --ext-unix-sk"

# A low PID could be taken where it is restored.
until [ "${last:-0}" -gt 400 ]; do : & last=$!; done
wait

# NAME OPTIONS PROGRAM [HOW…]: what HOW says comes before perl.
dump() {
  local name=$1 options=$2 program="$3 while (1) { select(undef, undef, undef, 0.2) }"
  shift 3
  mkdir -p "/data/$name"
  "${@:-drop}" perl -e "$program" </dev/null >/dev/null 2>&1 &
  local pid=$!
  sleep 0.4
  # shellcheck disable=SC2086 # options are words
  timeout 20 criu dump --unprivileged --tree "$pid" --images-dir "${images:-/data/$name}" --work-dir "/data/$name" \
    --log-file log -v2 $options >>"/data/$name/log" 2>&1
  kill -KILL "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  echo "$pid" >"/data/$name/pid"
  cp "/data/$name/log" "/data/$name.log"
}
drop() { exec setpriv --inh-caps=-all --ambient-caps=-all "$@"; }
keep() { exec "$@"; }
library() {
  cp /usr/lib/*/libz.so.1 /tmp/mapped.so
  LD_PRELOAD=/tmp/mapped.so exec setpriv --inh-caps=-all --ambient-caps=-all "$@"
}
wanted() { [ -z "$names" ] || [[ " $names " == *" $1 "* ]]; }
names=$*

perl -e "$unix"'bind(S, sockaddr_un("/tmp/peer")); listen(S, 5); accept(A, S); sleep 120' &
if wanted seccomp; then dump dump-seccomp "$all" ''; fi
[ -z "$names" ] || exit 0
dump ghost-file "$all --ghost-limit 1M" 'open(F, "+>/tmp/g"); syswrite(F, "x" x 3000000); unlink("/tmp/g");'
dump tcp-in-flight "$all" "${tcp/PORT/9001}"'if (!fork) { IO::Socket::INET->new(PeerAddr => "127.0.0.1:9001"); sleep 60 }'
dump tcp-connected --shell-job "${tcp/PORT/9002}"'$c = IO::Socket::INET->new(PeerAddr => "127.0.0.1:9002"); $a = $l->accept;'
dump unix-socket-outside "$all" "$unix"'connect(S, sockaddr_un("/tmp/peer"));'
dump open-file-kind "$all" 'syscall(323, 1);'
dump file-watch "$all" '$p = "/tmp"; syscall(254, syscall(253), $p, 0x100);'
dump session-leader "" ''
dump file-locks --shell-job 'open(F, ">/tmp/l"); flock(F, 2);'
images=/small dump no-space "$all" '$x = "y" x 8000000;'
dump base "$all" "${tcp/PORT/9003}"'open(R, ">/tmp/made"); print R "made\n"; close R; chmod 0644, "/tmp/made"; open(R, "</tmp/made"); open(G, "+>/tmp/gone"); unlink "/tmp/gone";'
dump plain "$all" ''
dump library "$all" '' library
dump capable "$all" '' keep
dump attach "$all" "$unix"'bind(S, sockaddr_un("/tmp/.java_pid9.tmp")); listen(S, 5); rename("/tmp/.java_pid9.tmp", "/tmp/.java_pid9");'
