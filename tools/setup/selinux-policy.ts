/**
 * A real SELinux policy, and the tools that judge how we read it: Debian's packages, unpacked into the cache and not
 * installed. Installed, they would mark this machine for relabelling and could switch SELinux on at its next boot.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheKey, ensureCacheFolder } from './cache.ts';
import { runCommand, tryCommand } from './command.ts';
import { ensurePackages, type DebianPackage } from './debian-packages.ts';
import { SetupError } from './errors.ts';
import { withLock } from './lock.ts';
import type { Say } from './say.ts';

/** Change it when what is made below changes. */
const LAYOUT = '1';
const POLICY_PACKAGE = 'selinux-policy-default';
const POLICY = 'default';
/** `semodule` builds the policy, `matchpathcon` looks labels up in it. */
const TOOL_PACKAGES = ['policycoreutils', 'selinux-utils'] as const;
const LIBRARIES: readonly DebianPackage[] = [
  { name: 'libsemanage2', reason: 'semodule, which builds the SELinux policy of the tests, links with it' },
  { name: 'libsepol2', reason: 'semodule, which builds the SELinux policy of the tests, links with it' },
  { name: 'libaudit1', reason: 'semodule, which builds the SELinux policy of the tests, links with it' },
];

export interface SelinuxPolicy {
  /** Becomes `etc/selinux` of a system: `config`, and the policy in `default/`. */
  readonly directory: string;
  /** `contexts/files` of the policy. */
  readonly contexts: string;
  /** libselinux's own look-up, matchpathcon(8). */
  readonly matchpathcon: string;
}

/**
 * The policy and the judge, made on first use.
 * @throws SetupError
 */
export async function ensureSelinuxPolicy(say: Say): Promise<SelinuxPolicy> {
  const folder = await ensureCacheFolder('selinux-policy');
  const path = join(folder, cacheKey([LAYOUT, process.arch]));
  const policy: SelinuxPolicy = {
    directory: join(path, 'root/etc/selinux'),
    contexts: join(path, 'root/etc/selinux', POLICY, 'contexts/files'),
    matchpathcon: join(path, 'unpacked/usr/sbin/matchpathcon'),
  };
  if (await exists(path)) return policy;
  return withLock('selinux-policy', say, async () => {
    if (await exists(path)) return policy;
    await ensurePackages(LIBRARIES, say);
    say(
      `Building the SELinux policy of ${POLICY_PACKAGE}, by which images are labelled in tests: about 20 seconds, once.`,
    );
    const unfinished = await mkdtemp(join(folder, 'unfinished-'));
    try {
      await unpack(unfinished);
      await build(unfinished);
      await rename(unfinished, path);
    } catch (error) {
      throw new SetupError(
        'INSTALL_FAILED',
        `The SELinux policy of ${POLICY_PACKAGE} could not be built. Check the machine's apt sources, then run this ` +
          `again. ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    } finally {
      await rm(unfinished, { recursive: true, force: true });
    }
    return policy;
  });
}

async function unpack(folder: string): Promise<void> {
  const names = [POLICY_PACKAGE, ...TOOL_PACKAGES];
  const download = ['-q', 'download', ...names];
  const { code } = await tryCommand('apt-get', download, { cwd: folder });
  if (code !== 0) {
    // The lists may be missing, or name versions that have been replaced.
    await runCommand('apt-get', ['-q', 'update']);
    await runCommand('apt-get', download, { cwd: folder });
  }
  for (const name of await readdir(folder)) {
    if (name.endsWith('.deb')) await runCommand('dpkg-deb', ['-x', name, 'unpacked'], { cwd: folder });
  }
}

/** What the package's own installation does, in a root of our own. */
async function build(folder: string): Promise<void> {
  const unpacked = join(folder, 'unpacked');
  const root = join(folder, 'root');
  const selinux = join(root, 'etc/selinux');
  await mkdir(join(root, 'var/lib/selinux', POLICY), { recursive: true });
  await cp(join(unpacked, 'etc/selinux'), selinux, { recursive: true });
  await writeFile(join(selinux, 'config'), `SELINUX=enforcing\nSELINUXTYPE=${POLICY}\n`);
  await writeFile(
    join(selinux, 'semanage.conf'),
    [
      'module-store = direct',
      'expand-check = 0',
      `compiler-directory = ${join(unpacked, 'usr/libexec/selinux/hll')}`,
      ...program('sefcontext_compile', join(unpacked, 'usr/sbin/sefcontext_compile'), '-r $@'),
      // It would ask the kernel whether the contexts are valid.
      ...program('setfiles', '/bin/true', '$@'),
    ].join('\n'),
  );
  const modules = join(unpacked, 'usr/share/selinux', POLICY);
  const names = (await readFile(join(modules, '.modules'), 'utf8')).split(/\s+/).filter((name) => name !== '');
  const semodule = join(unpacked, 'usr/sbin/semodule');
  const install = names.map((name) => `-i${join(modules, `${name}.pp.bz2`)}`);
  await runCommand(semodule, ['-p', root, '-n', '-s', POLICY, '-X', '100', ...install]);
  await rm(join(root, 'var'), { recursive: true });
  await rm(join(selinux, 'semanage.conf'));
}

function program(name: string, path: string, parameters: string): readonly string[] {
  return [`[${name}]`, `path = ${path}`, `args = ${parameters}`, '[end]'];
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
