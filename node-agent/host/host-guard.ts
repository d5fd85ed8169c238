/**
 * The guard of a host: a unit and a shell script in `/etc`, which the agent puts there before the reboot. It needs a
 * shell, systemd and `ostree`, nothing of ours, so it works in a deployment in which nothing else of ours does.
 */
import { chmod, mkdir, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeAtomically } from './atomic-file.ts';
import { BOOT_ONCE_FILE } from './boot-once.ts';
import { FALLBACK_FILE, TRIAL_FILE } from './trial.ts';

const UNIT_NAME = 'treeline-host-rollback.service';
const SCRIPT_FILE = 'etc/treeline/host-rollback/guard';
const UNIT_FOLDER = 'etc/systemd/system';

/** Looks this often at the units and the clock. */
const LOOK_SECONDS = 2;
/** When going back fails, it is tried again: there is nothing better to do. */
const RETRY_SECONDS = 15;
/** A shutdown that hangs is cut short; what was deployed is on disk by then. */
const SHUTDOWN_SECONDS = 180;

/** Not stopped by emergency.target, which is where a deployment ends whose file systems cannot be mounted. */
const UNIT = `# Written by the Treeline agent. Goes back to the previous deployment unless this one proves itself in time.
[Unit]
Description=Treeline: go back unless this deployment proves itself
ConditionPathExists=/${TRIAL_FILE}
DefaultDependencies=no
IgnoreOnIsolate=yes
After=-.mount boot.mount var.mount
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/bin/sh /${SCRIPT_FILE}
Restart=on-failure
RestartSec=5
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=sysinit.target
`;

/** The guard's script. @param root for tests: what stands for `/` */
export function guardScript(root = ''): string {
  return `# Written by the Treeline agent; see ${UNIT_NAME}. sh(1)
trial=${root}/${TRIAL_FILE}
record=${root}/${FALLBACK_FILE}
tab=$(printf '\\t')
# Words of files are no patterns.
set -f

[ -e "$trial" ] || exit 0
. "$trial"
for word in $(cat ${root}/proc/cmdline); do
  case $word in ostree=*) link=\${word#ostree=} ;; esac
done
booted=$(readlink -f "${root}/sysroot$link")
booted=\${booted##*/}
booted=\${booted%.*}

# All deployments in boot order, each as "mark stateroot commit.serial …".
deployments() { ostree admin status | grep -E '^[* ] +[^ ]+ [0-9a-f]{64}[.]'; }

# Where the boot loader has gone back: what failed is libostree's default still, and must not be the boot loader's again.
drop_target() {
  while :; do
    first=$(deployments | head -n 1)
    case $first in
      # Early in the boot, /boot is not mounted yet.
      "  $STATEROOT $TARGET."*) [ -e ${root}/boot/loader ] && ostree admin undeploy 0 && return ;;
      '') ;;
      *) return ;;
    esac
    sleep ${LOOK_SECONDS}
  done
}

if [ "$booted" = "$PREVIOUS" ] && grep -q "$TARGET" "$record" 2>/dev/null; then
  drop_target
  rm -f "$trial"
fi
[ "$booted" = "$TARGET" ] || exit 0

uptime_seconds() { read -r up _ < ${root}/proc/uptime; echo "\${up%%.*}"; }

failed_unit() {
  for unit in $UNITS; do
    if systemctl is-failed --quiet "$unit"; then echo "$unit"; return; fi
  done
}

# What the kernel of the deployment $1, as "commit.serial", is started with, as its boot entry says.
arguments_of() {
  grep -rhs "^options[ $tab]" ${root}/boot/loader/entries | while read -r _ options; do
    for word in $options; do
      case $word in ostree=*)
        deployment=$(readlink -f "${root}/sysroot\${word#ostree=}")
        [ "\${deployment##*/}" != "$1" ] || printf '%s\\n' "$options" ;;
      esac
    done
  done
}

# Deploys PREVIOUS with the origin and the kernel arguments of its deployment number $1.
deploy_anew() {
  origin=/ostree/deploy/$STATEROOT/deploy/$PREVIOUS.$1.origin
  options=$(arguments_of "$PREVIOUS.$1")
  # With those of what is on trial, which libostree takes, is better than not at all.
  if [ -n "$options" ]; then set -- --karg-none; else set --; fi
  for word in $options; do
    case $word in ostree=*) ;; *) set -- "$@" "--karg-append=$word" ;; esac
  done
  ostree admin deploy --os="$STATEROOT" --origin-file="$origin" "$@" "$PREVIOUS"
}

# Makes PREVIOUS the default again: by its place in the boot order, or, with a libostree that cannot do that, anew.
go_back() {
  grep -q ' /boot ' /proc/mounts || mount /boot 2>/dev/null
  # The boot loader boots it anyway.
  [ -e ${root}/${BOOT_ONCE_FILE} ] && sh ${root}/${BOOT_ONCE_FILE} armed >/dev/null 2>&1 && return
  line=$(deployments | grep -n -F " $STATEROOT $PREVIOUS." | head -n 1)
  serial=\${line#*"$PREVIOUS".}
  serial=\${serial%% *}
  if [ -n "$line" ] && ostree admin set-default --help >/dev/null 2>&1; then
    ostree admin set-default $((\${line%%:*} - 1)) && return
  fi
  deploy_anew "$serial"
}

while :; do
  [ -e "$trial" ] || exit 0
  now=$(uptime_seconds)
  unit=$(failed_unit)
  if [ -n "$unit" ]; then
    reason=UnitFailed
    break
  fi
  if [ "$now" -ge "$DEADLINE_SECONDS" ]; then
    reason=DeadlinePassed
    break
  fi
  sleep ${LOOK_SECONDS}
done

echo "treeline: this deployment has not proven itself ($reason $unit, \${now}s after the kernel started); going back"
mkdir -p "\${record%/*}"
printf '{"target":"%s","reason":"%s",%s"uptimeSeconds":%s}\\n' "$TARGET" "$reason" "\${unit:+\\"unit\\":\\"$unit\\",}" "$now" > "$record"
until go_back; do
  echo 'treeline: going back failed; trying again'
  sleep ${RETRY_SECONDS}
done
sync
systemctl --no-block reboot
sleep ${SHUTDOWN_SECONDS}
systemctl --force --force reboot
`;
}

/** Puts the guard into the `/etc` below `root`, started at every boot, where it does nothing without a trial. */
export async function installGuard(root: string): Promise<void> {
  await write(root, SCRIPT_FILE, guardScript(), 0o755);
  await write(root, join(UNIT_FOLDER, UNIT_NAME), UNIT, 0o644);
  const wants = join(root, UNIT_FOLDER, 'sysinit.target.wants');
  await mkdir(wants, { recursive: true });
  await rm(join(wants, UNIT_NAME), { force: true });
  await symlink(`../${UNIT_NAME}`, join(wants, UNIT_NAME));
}

async function write(root: string, name: string, text: string, mode: number): Promise<void> {
  const path = join(root, name);
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeAtomically(path, text);
  await chmod(path, mode);
}
