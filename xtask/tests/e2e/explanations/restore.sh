#!/bin/bash
# Restores what dump.sh has dumped where something is missing; every log goes to /data/NAME.log. `restore.sh NAME…`
# does only these: they need a container of their own.
cd /tmp 2>/dev/null || exit 1
criu=${CRIU:-/tmp/criu}
[ -n "$CRIU" ] || cp /usr/sbin/criu "$criu"

# NAME FROM [OPTIONS…]
restore() {
  local name=$1 from=$2 log=/data/$1.log work
  shift 2
  work=$(mktemp -d /data/work.XXXXXX)
  timeout --signal KILL 10 "$criu" restore --unprivileged --images-dir "/data/$from" --work-dir "$work" --log-file log \
    -v2 --shell-job --tcp-established --tcp-close --file-locks --ext-unix-sk "$@" >"$log" 2>&1 &
  wait $!
  cat "$work/log" >>"$log" 2>/dev/null
}
good="--skip-file-rwx-check"
if [ $# -gt 0 ]; then
  # What else it needs is there, so that only what is wanted fails.
  echo made >/tmp/made 2>/dev/null
  for name in "$@"; do restore "$name" "$([ "$name" = read-only-root ] && echo base || echo plain)" $good; done
  exit 0
fi
restore file-missing base $good
echo longer >/tmp/made
restore file-changed base $good
echo made >/tmp/made
chmod 0755 /tmp/made
restore file-mode base
chmod 0644 /tmp/made
perl -e 'use IO::Socket::INET; $l = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => 9003); sleep 120' &
listener=$!
sleep 0.3
restore port-in-use base $good
kill $listener
restore more-capabilities capable $good
restore attach-socket attach $good
cp -r /data/plain /data/damaged
truncate -s 40 /data/damaged/core-*.img
restore data-damaged damaged $good
# Another build of a library, of the very same size: one byte of its build-id.
perl -0777 -pe 's/(\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0)(.)/$1.chr(ord($2)^255)/se' /usr/lib/*/libz.so.1 >/tmp/mapped.so
chmod 0644 /tmp/mapped.so
restore file-changed-build library $good
pid=$(cat /data/plain/pid)
until [ -d "/proc/$pid" ]; do sleep 100 & done
restore pid-in-use plain $good
