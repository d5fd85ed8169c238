/**
 * A disk that `treeline install` wrote, booted as far as that goes without a kernel: in mount and process namespaces of
 * its own, with the deployment that the boot loader would boot as root, `/sysroot`, `/var` and `/boot` where the initramfs puts
 * them, and a boot ID that no boot had before. libostree takes it for the running system. The programs are this machine's:
 * the small OS has none. There is no systemd; what it does at shutdown, `shutDown` does.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rmdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandRunner, commandRunner } from '../node-agent/host/command.ts';
import { runCommand } from '../tools/setup/command.ts';
import { firstLine } from './first-line.ts';

/** Arguments: disk, an empty directory, boot ID, and start and size of both partitions in bytes. */
const BOOT = `set -e
disk=$1 top=$2 id=$3
mount -o "loop,offset=$6,sizelimit=$7" "$disk" "$top"
mount -o "loop,offset=$4,sizelimit=$5" "$disk" "$top/boot"
config=$top/boot/loader/syslinux.cfg
# Of syslinux's auxiliary data, 512 bytes at the end: a label that is executed once, behind a head of 8 bytes, tag and length.
once=$(tail -c 512 "$top/boot/syslinux/ldlinux.sys" | tail -c +11 | tr '\\0' '\\n' | head -n 1)
[ -z "$once" ] || extlinux --clear-once "$top/boot/syslinux" 2> /dev/null
label=\${once:-$(sed -n 's/^DEFAULT //p' "$config")}
options=$(awk -v label="LABEL $label" '$0 == label { found = 1 } found && $1 == "APPEND" { $1 = ""; print; exit }' "$config")
for word in $options; do case $word in ostree=*) link=\${word#ostree=} ;; esac; done
root=$(readlink -f "$top$link")
state=\${root%/deploy/*}
chattr -i "$root"
for name in bin lib lib64 sbin; do ln -sfn "usr/$name" "$root/$name"; done
chattr +i "$root"
mount --bind "$root" "$root"
mount --rbind "$top" "$root/sysroot"
mount --bind "$top/boot" "$root/boot"
mount --bind "$state/var" "$root/var"
mount --bind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t tmpfs run "$root/run"
mount -t tmpfs tmp "$root/tmp"
touch "$root/run/ostree-booted"
echo "$options" > "$root/run/cmdline"
echo "$id" > "$root/run/boot-id"
mount --bind "$root/run/cmdline" "$root/proc/cmdline"
mount --bind "$root/run/boot-id" "$root/proc/sys/kernel/random/boot_id"
mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
exec chroot . /bin/sh -c 'umount -l /run/old; echo ready; exec cat'
`;

export class BootedHost implements AsyncDisposable {
  readonly bootID: string;
  /** The host's root, as seen from outside. */
  readonly root: string;
  /** Runs programs on the host. */
  readonly run: CommandRunner;
  readonly #mountPoint: string;
  readonly #holder: ChildProcess;

  private constructor(bootID: string, mountPoint: string, holder: ChildProcess, pid: number) {
    this.bootID = bootID;
    this.#mountPoint = mountPoint;
    this.#holder = holder;
    this.root = `/proc/${pid}/root`;
    const path = 'PATH=/run/stubs:/usr/sbin:/usr/bin:/sbin:/bin';
    this.run = commandRunner(['nsenter', `--target=${pid}`, '--mount', '--pid', '--root', '--wd=/', '--', 'env', path]);
  }

  static async boot(disk: string): Promise<BootedHost> {
    const { partitiontable } = JSON.parse(await runCommand('/usr/sbin/sfdisk', ['--json', disk])) as {
      partitiontable: { partitions: { start: number; size: number }[] };
    };
    const extents = partitiontable.partitions.flatMap(({ start, size }) => [`${start * 512}`, `${size * 512}`]);
    const bootID = randomUUID();
    const mountPoint = await mkdtemp(join(tmpdir(), 'treeline-booted-'));
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
    const script = ['sh', '-c', BOOT, 'sh', disk, mountPoint, bootID, ...extents];
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'unshare', ...namespaces, '--', ...script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await firstLine(holder);
    const children = await readFile(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8');
    return new BootedHost(bootID, mountPoint, holder, Number(children.trim()));
  }

  /** An orderly shutdown: what is staged and not locked is finalised, as `ostree-finalize-staged.service` does. */
  async shutDown(): Promise<void> {
    const path = (name: string) => join(this.root, 'run/ostree', name);
    const there = (name: string) =>
      stat(path(name)).then(
        () => true,
        () => false,
      );
    if ((await there('staged-deployment')) && !(await there('staged-deployment-locked'))) {
      const result = await this.run(['ostree', 'admin', 'finalize-staged']).then(
        () => 'success',
        () => 'exit-code',
      );
      await this.#afterFinalization(result);
    }
    await this[Symbol.asyncDispose]();
  }

  /** What drop-ins have systemd run after the unit has stopped. */
  async #afterFinalization(result: string): Promise<void> {
    const path = join(this.root, 'run/systemd/system/ostree-finalize-staged.service.d/treeline.conf');
    const text = await readFile(path, 'utf8').catch(() => '');
    for (const [, command = ''] of text.matchAll(/^ExecStopPost=-?(.*)$/gm)) {
      await this.run(['env', `SERVICE_RESULT=${result}`, ...command.split(' ')]);
    }
  }

  /** A power cut: what was in memory is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const gone = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await gone;
    await rmdir(this.#mountPoint);
  }
}
