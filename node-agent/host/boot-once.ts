/**
 * Booting once, where the boot loader can: syslinux boots what is on trial a single time, and what ran before from then
 * on, until the trial is over. So a kernel that panics and an initramfs that hangs end in the old deployment as well, of
 * which nothing of the new one knows. libostree's order of deployments stays as it is: only the default of the boot
 * loader's configuration is another, and libostree writes that anew with its next deployment.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readIfPresent, writeAtomically } from './atomic-file.ts';
import type { CommandRunner } from './command.ts';
import { DEADLINE_ARGUMENT, initramfsDeadline } from './initramfs-deadline.ts';
import { FALLBACK_FILE, TRIAL_FILE } from './trial.ts';

/** Below the host's root. */
export const BOOT_ONCE_FILE = 'etc/treeline/host-rollback/boot-once';
/** What the kernel of the trial gets beside the image's initramfs; absent where there is none for the machine. */
export const DEADLINE_FILE = 'etc/treeline/host-rollback/initramfs-deadline.img';
/** A kernel that panics must not stand still, or nobody falls back. In seconds; see panic= in kernel-parameters.txt */
const PANIC_SECONDS = 10;

/**
 * sh(1): `check` whether this host can, `arm` after finalisation, `armed` whether it is, `accept` what runs as the default.
 * Labels are of one word, which is all that syslinux matches, and libostree writes its own default again only when it finds
 * `(ostree` in the one that is there.
 * @param root for tests: what stands for `/`
 */
export function bootOnceScript(root = ''): string {
  return `# Written by the Treeline agent; see treeline-host-rollback.service. sh(1)
loader=${root}/boot/syslinux
config=${root}/boot/loader/syslinux.cfg
record=${root}/${FALLBACK_FILE}
tab=$(printf '\\t')
deadline=${root}/${DEADLINE_FILE}
image=treeline-deadline.img
next='treeline-trial(ostree)'
previous='treeline-previous(ostree)'

# The lines of the entry that boots a deployment of commit $1.
entry_of() {
  # libostree ends the last line with nothing.
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      'LABEL '*) entry= ;;
      "$tab"*)
        entry="$entry$line
"
        for word in $line; do
          case $word in ostree=*)
            deployment=$(readlink -f "${root}/sysroot\${word#ostree=}")
            deployment=\${deployment##*/}
            if [ "\${deployment%.*}" = "$1" ]; then printf %s "$entry"; return; fi ;;
          esac
        done ;;
    esac
  done < "$config"
}

# The configuration without what this script has put there.
plain() { printf '%s\\n' "$(sed -e "/^LABEL treeline-/,/^\${tab}APPEND/d" "$config")"; }

# The entry $1 with an initramfs more, whose program the kernel starts first. Paths are those of the boot loader.
with_deadline() {
  kernel=$(printf '%s\\n' "$1" | sed -n "s/^\${tab}KERNEL //p")
  case $1 in *' rdinit='*) return 1 ;; *"\${tab}INITRD "*) ;; *) return 1 ;; esac
  [ -e "$deadline" ] && cp "$deadline" "$loader/$image" && sync "$loader/$image" || return 1
  printf '%s\\n' "$1" | sed -e "s|^\${tab}INITRD .*|&,\${kernel%%/ostree/*}/syslinux/$image|" -e "s|^\${tab}APPEND .*|& ${DEADLINE_ARGUMENT}|"
}

# Replaces the configuration. Boot loaders do not read journals: freezing writes all of it to its place.
replace() {
  cat > "$config.new" && sync "$config.new" && mv "$config.new" "$config" || return 1
  trap '' HUP INT TERM
  fsfreeze --freeze ${root}/boot && fsfreeze --unfreeze ${root}/boot
  trap - HUP INT TERM
  return 0
}

with_default() { sed -e "s|^DEFAULT .*|DEFAULT $1|"; }

case $1 in
  check)
    command -v extlinux && command -v fsfreeze && [ -e "$loader/ldlinux.sys" ] && grep '^DEFAULT ' "$config"
    ;;
  arm)
    . ${root}/${TRIAL_FILE}
    new=$(entry_of "$TARGET")
    old=$(entry_of "$PREVIOUS")
    # What was staged has not been finalised: nothing to try.
    [ -n "$new" ] && [ -n "$old" ] || exit 0
    timed=$(with_deadline "$new") && new=$timed
    case $new in *' panic='*) ;; *) new="$new panic=${PANIC_SECONDS}" ;; esac
    { plain; printf 'LABEL %s\\n%s\\nLABEL %s\\n%s\\n' "$next" "$new" "$previous" "$old"; } | replace || exit
    # If this is read in the old deployment, the new one has not proven itself.
    mkdir -p "\${record%/*}"
    printf '{"target":"%s","reason":"BootFailed"}\\n' "$TARGET" > "$record.new"
    sync "$record.new"
    mv "$record.new" "$record"
    extlinux --once="$next" "$loader" || exit
    with_default "$previous" < "$config" | replace
    ;;
  armed)
    grep "^DEFAULT $previous" "$config"
    ;;
  accept)
    grep -q "^DEFAULT $previous" "$config" || exit 0
    first=$(sed -n 's/^LABEL //p' "$config" | head -n 1)
    plain | with_default "$first" | replace && extlinux --clear-once "$loader" && rm -f "$loader/$image"
    ;;
esac
`;
}

/**
 * Puts the script on the host, with a deadline for the initramfs; returns whether its boot loader can boot something once.
 * Nothing is changed by that.
 */
export async function installBootOnce(root: string, run: CommandRunner, deadlineSeconds: number): Promise<boolean> {
  await mkdir(dirname(join(root, BOOT_ONCE_FILE)), { recursive: true, mode: 0o755 });
  await writeAtomically(join(root, BOOT_ONCE_FILE), bootOnceScript());
  await rm(join(root, DEADLINE_FILE), { force: true });
  if (process.arch === 'x64') await writeFile(join(root, DEADLINE_FILE), initramfsDeadline(deadlineSeconds));
  try {
    await run(['sh', `/${BOOT_ONCE_FILE}`, 'check']);
    return true;
  } catch {
    return false;
  }
}

/** Makes what was booted once what the boot loader boots from now on; twice does no harm. Throws AgentError `CommandFailed`. */
export async function acceptBoot(root: string, run: CommandRunner): Promise<void> {
  if ((await readIfPresent(join(root, BOOT_ONCE_FILE))) === undefined) return;
  await run(['sh', `/${BOOT_ONCE_FILE}`, 'accept']);
}
