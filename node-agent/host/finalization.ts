/**
 * What happens around the finalisation of a staged deployment, in the last moments of a shutdown: the agent is gone by then,
 * so it leaves a drop-in of libostree's unit behind. That has the boot loader see what was finalised, writes down why a
 * finalisation failed, which otherwise looks as if nothing had been staged, and has the boot loader try once what is on trial.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readIfPresent, writeAtomically } from './atomic-file.ts';
import { BOOT_ONCE_FILE } from './boot-once.ts';
import type { CommandRunner } from './command.ts';

const SCRIPT_FILE = 'etc/treeline/host-rollback/after-finalization';
/** In `/run`: it is for the shutdown of this boot only. */
const DROP_IN_FILE = 'run/systemd/system/ostree-finalize-staged.service.d/treeline.conf';
/** Lines: the boot at whose end it was, the KiB that /boot and the root file system had left, what libostree said. */
const FAILURE_FILE = 'var/lib/treeline/host-rollback/finalization-failure';
/** Written while there is room, for a file system that is full at the end: the script writes over it. */
const RESERVE_FILE = `${FAILURE_FILE}.new`;
const RESERVE = '\n'.repeat(4096);
/** What `ostree admin boot-complete` reads in the next boot. */
const STAMP_FILE = 'boot/ostree/finalize-failure.stamp';

/** The API's limit is 1024. */
const MAX_SAID_CHARS = 500;

/** Not enough for the boot entries of two deployments. */
const FULL_KIBIBYTES = 64;

/** systemd.exec(5) has SERVICE_RESULT. A stamp that is older than the drop-in speaks of another shutdown. */
export function afterFinalizationScript(root = ''): string {
  return `# Written by the Treeline agent. sh(1)
record=${root}/${FAILURE_FILE}
stamp=${root}/${STAMP_FILE}
if [ "$SERVICE_RESULT" = success ]; then
  # Boot loaders do not read journals, and libostree has taken away what the entries of before name: freezing writes the
  # new ones to their place. Without it, a power cut before /boot is unmounted leaves a host that boots nothing.
  if mountpoint -q ${root}/boot; then
    trap '' HUP INT TERM
    fsfreeze --freeze ${root}/boot && fsfreeze --unfreeze ${root}/boot
  fi
  rm -f "$record.new"
  exit 0
fi
mkdir -p "\${record%/*}"
{
  cat ${root}/proc/sys/kernel/random/boot_id
  echo $(df --output=avail ${root}/boot | tail -n 1) $(df --output=avail ${root}/sysroot | tail -n 1)
  if [ "$stamp" -nt ${root}/${DROP_IN_FILE} ]; then cat "$stamp"; else echo "ostree admin finalize-staged failed ($SERVICE_RESULT)"; fi
} 1<> "$record.new"
sync "$record.new"
mv "$record.new" "$record"
`;
}

const dropIn = (once: boolean) => `# Written by the Treeline agent for the next shutdown.
[Service]
ExecStopPost=-/bin/sh /${SCRIPT_FILE}
${once ? `ExecStopPost=/bin/sh /${BOOT_ONCE_FILE} arm\n` : ''}`;

export interface FinalizationFailure {
  /** Boot at whose end it happened. */
  readonly bootID: string;
  /** As a clause that says what to do, if we know that. */
  readonly message: string;
}

/** Prepares the next shutdown. With `once`, the boot loader is to try what is finalised, a single time. */
export async function prepareFinalization(root: string, run: CommandRunner, once: boolean): Promise<void> {
  await rm(join(root, FAILURE_FILE), { force: true });
  await write(root, RESERVE_FILE, RESERVE);
  await write(root, SCRIPT_FILE, afterFinalizationScript());
  await write(root, DROP_IN_FILE, dropIn(once));
  await run(['systemctl', 'daemon-reload']);
}

/** Why what was last to be finalised was not; undefined when it was, or nothing has been since. */
export async function readFinalizationFailure(root: string): Promise<FinalizationFailure | undefined> {
  const text = await readIfPresent(join(root, FAILURE_FILE));
  if (text === undefined) return undefined;
  const [bootID = '', left = '', ...rest] = text.split('\n');
  const [boot = Infinity, system = Infinity] = left.trim().split(/\s+/).map(Number);
  const said = rest.join(' ').trim().slice(0, MAX_SAID_CHARS);
  return { bootID, message: `${said}${adviceOn(boot, system, said)}` };
}

/** @param boot KiB that are left, as `system` is */
function adviceOn(boot: number, system: number, said: string): string {
  if (boot >= FULL_KIBIBYTES && system < FULL_KIBIBYTES) {
    return '; the root file system is full: `du -x --max-depth=3 /var` shows by what';
  }
  // libostree takes back what it could not write in full; what it says may not have fitted, either.
  if (boot >= FULL_KIBIBYTES && !said.includes('No space left on device')) return '';
  return '; /boot is full: `df /boot` and `ls /boot/ostree` show by what, `ostree admin undeploy` removes a deployment with its kernel';
}

async function write(root: string, name: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, name)), { recursive: true, mode: 0o755 });
  await writeAtomically(join(root, name), text);
}
