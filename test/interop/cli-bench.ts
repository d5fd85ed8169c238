/** A registry with a small OS in two versions, and sysroots to put it on: what the tests of the command line stand on. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestRegistry, startRegistry } from '../../testbed/registry.ts';
import { makeSmallOSImage } from '../../testbed/small-os-image.ts';
import { removeWithSysroots } from '../../testbed/sysroot.ts';
import { treeline, TREELINE } from '../../testbed/treeline-command.ts';
import { runCommand } from '../../tools/setup/command.ts';

export interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `bin/treeline` and returns what it said, whatever the exit status. */
export async function say(
  argv: readonly string[],
  how: { readonly cwd?: string; readonly environment?: NodeJS.ProcessEnv; readonly program?: readonly string[] } = {},
): Promise<Said> {
  const [program = TREELINE, ...before] = how.program ?? [TREELINE];
  const child = spawn(program, [...before, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(how.cwd === undefined ? {} : { cwd: how.cwd }),
    env: { ...process.env, ...how.environment },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { status, stdout, stderr };
}

export class Bench implements AsyncDisposable {
  readonly folder: string;
  readonly registry: TestRegistry;
  /** Path of the repository in which the OS was made. */
  readonly source: string;
  /** Digest of each version's image. */
  readonly digests: { readonly 1: string; readonly 2: string };
  #sysroots = 0;

  private constructor(folder: string, registry: TestRegistry, source: string, digests: Bench['digests']) {
    this.folder = folder;
    this.registry = registry;
    this.source = source;
    this.digests = digests;
  }

  static async start(users?: Readonly<Record<string, string>>): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-cli-'));
    const registry = await startRegistry({
      storage: join(folder, 'registry'),
      ...(users === undefined ? {} : { users }),
    });
    const { path, branches } = await makeSmallOSImage(folder);
    const login = await writeAuthFile(join(folder, 'auth.json'), registry.host, users);
    const push = async (version: 1 | 2) => {
      const output = await treeline([
        'encapsulate',
        `--repo=${path}`,
        `--plain-http=${registry.host}`,
        '--output=json',
        ...login,
        branches[version],
        `${registry.host}/os:${version}`,
      ]);
      return (JSON.parse(output) as { manifestDigest: string }).manifestDigest;
    };
    return new Bench(folder, registry, path, { 1: await push(1), 2: await push(2) });
  }

  image(tag: string): string {
    return `${this.registry.host}/os:${tag}`;
  }

  /** Flags that reach the registry. */
  get plain(): readonly string[] {
    return ['--plain-http', this.registry.host];
  }

  /** An empty sysroot with one stateroot, made by `ostree admin`. */
  async sysroot(folder = join(this.folder, `sysroot-${(this.#sysroots += 1)}`)): Promise<string> {
    await mkdir(folder, { recursive: true });
    await runCommand('ostree', ['admin', 'init-fs', '--modern', folder]);
    await runCommand('ostree', ['admin', 'os-init', `--sysroot=${folder}`, 'small']);
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registry.stop();
    await removeWithSysroots(this.folder);
  }
}

/** Writes a docker config for the users of a registry and returns the flag that names it. */
export async function writeAuthFile(
  path: string,
  host: string,
  users: Readonly<Record<string, string>> | undefined,
): Promise<readonly string[]> {
  const [user] = Object.entries(users ?? {});
  if (user === undefined) return [];
  const auth = Buffer.from(user.join(':')).toString('base64');
  await writeFile(path, JSON.stringify({ auths: { [host]: { auth } } }));
  return ['--authfile', path];
}
