#!/usr/bin/env bash
# Makes docs/guide/recording.svg of a real run, on a quiet machine with podman and curl: docs/recording/record.sh
#
# What is shown is what the programs printed, at the speed they printed it, but for waits, which are cut to three seconds.
# It works on a copy of the sample application, `demo`, in a folder of its own: nothing of the checkout changes but
# the picture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
repository=$PWD
state=${XTASK_STATE:-$repository/target/xtask}
folder=$(mktemp --directory)
trap 'rm -rf "$folder"' EXIT
port=${PORT:-8080}

# The caches and the store are the checkout's, and are where a user has them.
export XTASK_ROOT=$folder/root
unset XTASK_STATE
mkdir -p "$state" "$XTASK_ROOT/apps/demo" "$XTASK_ROOT/target"
ln -s "$(realpath "$state")" "$XTASK_ROOT/target/xtask"
cp -r templates "$XTASK_ROOT"
cp apps/app.schema.json "$XTASK_ROOT/apps"
cp -r xtask/tests/fixtures/sample-app "$XTASK_ROOT/apps/demo/source"
cp apps/sample/app.toml "$XTASK_ROOT/apps/demo"

# What is typed is shown, then run.
cat >"$folder/steps" <<STEPS
set -euo pipefail
show() { printf '\n\033[1;36m$ \033[0;1m%s\033[0m\n' "\$1"; sleep 1; eval "\$1"; sleep 3; }
show "cargo xtask checkpoint demo --force --quiet"
show "cargo xtask restore demo --detach --publish 127.0.0.1:$port:8080"
show "curl -s http://127.0.0.1:$port/identity"
echo
STEPS
# Once before: what is recorded is a run with warm caches, as after any change of the application.
cargo xtask checkpoint demo --quiet >/dev/null
.ci/python docs/recording -m asciinema rec --quiet --overwrite --cols 100 --rows 46 --idle-time-limit 3 \
    --command "bash $folder/steps" "$folder/run.cast"
grep --only-matching --max-count=1 'xtask-demo-restore-[0-9-]*' "$folder/run.cast" | head -n 1 |
    xargs podman rm --force >/dev/null
.ci/python docs/recording -m termtosvg render "$folder/run.cast" docs/guide/recording.svg --template gjm8
