/**
 * Builds a container image with a builder of the machine, buildah or podman: Containerfiles have one meaning, theirs. How
 * they isolate and where they store is theirs to know, too (BUILDAH_ISOLATION, STORAGE_DRIVER, containers-storage.conf(5)).
 */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isInstalled } from '../../registry/index.ts';
import { CliError } from '../errors.ts';

export const BUILDERS = ['buildah', 'podman'] as const;
export type BuilderName = (typeof BUILDERS)[number];

export interface BuildRequest {
  /** Takes the place of the image in the first FROM. */
  readonly base?: string | undefined;
  readonly containerfile: string;
  /** Directory that COPY and ADD copy from. */
  readonly context: string;
  /** Seconds since the epoch: the time of all files of the new layers. */
  readonly timestamp: number;
  readonly architecture?: string | undefined;
  readonly authfile?: string | undefined;
  readonly certificateDirectory?: string | undefined;
  readonly verifyTls: boolean;
}

export interface BuilderRun {
  readonly environment: NodeJS.ProcessEnv;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Of what a failed builder said, for its error. */
const LAST_LINES = 12;
/** From the polite signal to the other one. */
const GRACE_MS = 5_000;

/** Builds, and writes the image into `scratch`. Returns its path as an OCI layout, whose image is called `built`. */
export async function buildContainerImage(
  builder: BuilderName,
  request: BuildRequest,
  scratch: string,
  run: BuilderRun,
): Promise<string> {
  const idFile = join(scratch, 'built-id');
  await runBuilder(builder, buildArguments(builder, request, idFile), run);
  const id = (await readFile(idFile, 'utf8')).trim();
  const layout = join(scratch, 'built');
  try {
    await runBuilder(builder, ['push', '--format=oci', id, `oci:${layout}:built`], run);
  } finally {
    // It has no name; what could not be removed is a dangling image, which the builder's own prune removes.
    await runBuilder(builder, ['rmi', id], { ...run, onLine: () => undefined }).catch(() => undefined);
  }
  return layout;
}

function buildArguments(builder: BuilderName, request: BuildRequest, idFile: string): readonly string[] {
  const { base, architecture, authfile, certificateDirectory } = request;
  return [
    builder === 'buildah' ? 'bud' : 'build',
    `--iidfile=${idFile}`,
    `--timestamp=${request.timestamp}`,
    '--format=oci',
    ...(base === undefined ? [] : [`--from=${base}`]),
    ...(architecture === undefined ? [] : [`--arch=${architecture}`]),
    ...(authfile === undefined ? [] : [`--authfile=${authfile}`]),
    ...(certificateDirectory === undefined ? [] : [`--cert-dir=${certificateDirectory}`]),
    ...(request.verifyTls ? [] : ['--tls-verify=false']),
    `--file=${request.containerfile}`,
    request.context,
  ];
}

/** A Containerfile of single instructions. */
export async function writeContainerfile(path: string, base: string, layers: readonly string[]): Promise<string> {
  await writeFile(path, `${[`FROM ${base}`, ...layers].join('\n')}\n`);
  return path;
}

async function runBuilder(builder: BuilderName, parameters: readonly string[], run: BuilderRun): Promise<void> {
  const { environment, onLine, signal } = run;
  signal.throwIfAborted();
  const child = spawn(builder, parameters, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => {
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), GRACE_MS).unref();
  };
  signal.addEventListener('abort', kill, { once: true });
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      onLine(line);
      last.push(line);
      if (last.length > LAST_LINES) last.shift();
    });
  }
  try {
    const status = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, name) => resolve(code === null ? `signal ${name}` : `status ${code}`));
    });
    signal.throwIfAborted();
    if (status === 'status 0') return;
    throw new CliError('BuildFailed', `\`${builder} ${parameters[0]}\` ended with ${status}: ${last.join(' ')}`);
  } catch (cause) {
    if (!(cause instanceof Error) || !('code' in cause) || cause.code !== 'ENOENT') throw cause;
    throw missing(builder, cause);
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** Before anything is fetched for a build. Throws CliError `BuilderMissing`. */
export function requireBuilder(builder: BuilderName, environment: NodeJS.ProcessEnv): void {
  if (!isInstalled(builder, environment)) throw missing(builder);
}

function missing(builder: BuilderName, cause?: unknown): CliError {
  return new CliError(
    'BuilderMissing',
    `A Containerfile is built by buildah or podman, and ${builder} is not installed: install one (\`apt install buildah\`, \`dnf install buildah\`), or compose from a directory with --rootfs.`,
    { cause },
  );
}
