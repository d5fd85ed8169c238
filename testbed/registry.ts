/**
 * A real `docker-registry` (the Debian package) on a loopback port, for tests and the demo. It logs the port that the
 * kernel chose, so no port is guessed; it is stopped by its own process id, so that nothing else can be hit.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

/** A registry that has not said where it listens by then never will; the caller gets its log instead of a hang. */
const START_DEADLINE_MS = 60_000;
/** After this the registry is killed outright: it keeps no state in memory that matters. */
const STOP_GRACE_MS = 3_000;
/** Enough of the log to explain a failed start. */
const LOG_LINES_KEPT = 50;

export interface TestRegistryOptions {
  /** Directory of the blobs; created when missing, kept after the stop, so that a restart serves the same content. */
  readonly storage: string;
  /** 0 (the default) lets the kernel choose. Give the old port to restart a registry under the same address. */
  readonly port?: number;
  /** Where it listens; default 127.0.0.1. */
  readonly address?: string;
  /** User name to password; when given, every request needs HTTP Basic credentials. */
  readonly users?: Readonly<Record<string, string>>;
  /** Whether manifests and blobs may be deleted; default false, as in distribution. */
  readonly deleteEnabled?: boolean;
  /** URL of another registry: this one only passes on what that one has, and keeps it. */
  readonly cacheOf?: string;
  /** PEM files; when given, the registry speaks HTTPS only. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string };
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`, or another address, as it stands at the front of image names. */
  readonly host: string;
  readonly port: number;
  /** `http://127.0.0.1:PORT`, or https. */
  readonly url: string;
  readonly pid: number;
  /** The last lines the registry logged. */
  log(): string;
  /** Stops at once with SIGKILL: for tests of a registry that dies. */
  kill(): Promise<void>;
  /** Stops gracefully; safe to call twice. */
  stop(): Promise<void>;
}

/**
 * Starts a registry and resolves when it accepts connections.
 * @throws Error with the registry's own log when it cannot start.
 */
export async function startRegistry(options: TestRegistryOptions): Promise<TestRegistry> {
  await mkdir(options.storage, { recursive: true });
  const configFile = join(options.storage, 'registry.yml');
  await writeFile(configFile, await renderConfig(options));
  // setpriv (util-linux) has the kernel end it with us, however we end; it becomes the registry, so the pid is the same.
  // The process must not inherit REGISTRY_* variables: they override the file.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'docker-registry', 'serve', configFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
    // A group of its own: a terminal's Ctrl-C goes to us, who stop it in order, not to it.
    detached: true,
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
  });
  const lines: string[] = [];
  const port = await listeningPort(child, lines);
  const host = `${options.address ?? '127.0.0.1'}:${port}`;
  const stop = async (first: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(first);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    await gone;
    clearTimeout(timer);
  };
  return {
    host,
    port,
    url: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    pid: child.pid ?? 0,
    log: () => lines.join('\n'),
    kill: () => stop('SIGKILL'),
    stop: () => stop('SIGTERM'),
    [Symbol.asyncDispose]: () => stop('SIGTERM'),
  };
}

function listeningPort(child: ChildProcess, lines: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: Error): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`docker-registry ${reason}; its log says:\n${lines.join('\n')}`, { cause }));
    };
    const timer = setTimeout(() => fail('did not start in time'), START_DEADLINE_MS);
    child.once('error', (error) => fail('cannot be run: install the Debian package util-linux', error));
    child.once('exit', (code, signal) =>
      fail(
        code === 127
          ? 'is missing: install the Debian package docker-registry'
          : `ended with ${signal ?? `exit code ${code}`}`,
      ),
    );
    if (child.stderr === null) return;
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (lines.length > LOG_LINES_KEPT) lines.shift();
      const match = /listening on [^ "]*:(\d+)/.exec(line);
      if (match?.[1] === undefined) return;
      clearTimeout(timer);
      resolve(Number(match[1]));
    });
  });
}

async function renderConfig(options: TestRegistryOptions): Promise<string> {
  const config: Record<string, unknown> = {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: false } },
    storage: {
      filesystem: { rootdirectory: options.storage },
      delete: { enabled: options.deleteEnabled ?? false },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr: `${options.address ?? '127.0.0.1'}:${options.port ?? 0}`,
      secret: randomBytes(16).toString('hex'),
      ...(options.tls === undefined
        ? {}
        : { tls: { certificate: options.tls.certificateFile, key: options.tls.keyFile } }),
    },
  };
  if (options.cacheOf !== undefined) config['proxy'] = { remoteurl: options.cacheOf };
  if (options.users !== undefined) {
    const file = join(options.storage, 'htpasswd');
    await writeFile(file, await renderHtpasswd(options.users));
    config['auth'] = { htpasswd: { realm: 'treeline-testbed', path: file } };
  }
  // JSON is YAML, and needs no quoting rules.
  return JSON.stringify(config, undefined, 2);
}

/** distribution takes bcrypt entries only; perl's crypt(3) makes them wherever Debian's perl-base is. */
async function renderHtpasswd(users: Readonly<Record<string, string>>): Promise<string> {
  const run = promisify(execFile);
  const lines: string[] = [];
  for (const [user, password] of Object.entries(users)) {
    const salt = `$2y$04$${randomBytes(11).toString('hex')}`;
    const { stdout } = await run('perl', ['-e', 'print crypt($ARGV[0], $ARGV[1])', password, salt]);
    if (!stdout.startsWith('$2y$')) throw new Error('crypt(3) of this machine has no bcrypt: cannot make htpasswd');
    lines.push(`${user}:${stdout}\n`);
  }
  return lines.join('');
}
