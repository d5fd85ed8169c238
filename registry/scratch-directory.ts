/**
 * A directory for a copy of an image, which outlives its user in no case: it is removed at the end, and what a killed run
 * left behind is removed by the next one. Whether a run still lives is asked of the kernel: each listens on a socket
 * inside its directory, and a dead one's refuses. Process ids would lie between containers.
 */
import { randomBytes } from 'node:crypto';
import { constants, type FileHandle, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { writeError } from './durable-file.ts';

const PREFIX = 'treeline-image-';
const SOCKET = 'alive';
/** A directory without a socket is one that is just being made, unless it is older than this. */
const BIRTH_MS = 60_000;

export class ScratchDirectory implements AsyncDisposable {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #server: Server;

  private constructor(path: string, handle: FileHandle, server: Server) {
    this.path = path;
    this.#handle = handle;
    this.#server = server;
  }

  /**
   * Makes one in `parent`, after removing those that nobody uses any more.
   * @throws RegistryError `WriteFailed`
   */
  static async create(parent: string): Promise<ScratchDirectory> {
    const path = join(parent, `${PREFIX}${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(parent, { recursive: true });
      await removeAbandoned(parent);
      await mkdir(path, { mode: 0o700 });
      const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
      return new ScratchDirectory(path, handle, await listen(socketIn(handle)));
    } catch (error) {
      throw writeError(path, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#handle.close();
  }
}

/** The address of a socket is at most 107 bytes long, a path may be longer: it is named by the directory's descriptor. */
function socketIn(directory: FileHandle): string {
  return `/proc/self/fd/${directory.fd}/${SOCKET}`;
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => connection.destroy());
    server.once('error', reject);
    server.listen(path, () => resolve(server));
    server.unref();
  });
}

async function removeAbandoned(parent: string): Promise<void> {
  const names = (await readdir(parent)).filter((name) => name.startsWith(PREFIX));
  for (const name of names) {
    const path = join(parent, name);
    try {
      const { uid } = await lstat(path);
      if (uid === process.getuid?.() && !(await isInUse(path))) await rm(path, { recursive: true, force: true });
    } catch {
      // Another run removes it at this moment, or it is not ours to remove: neither is our business.
    }
  }
}

async function isInUse(path: string): Promise<boolean> {
  // A symbolic link or a file of this name is nobody's directory; opening it fails, and it stays.
  await using handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const { mtimeMs } = await handle.stat();
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect(socketIn(handle));
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve('code' in error ? String(error.code) : 'unknown'));
  });
  if (code === 'ENOENT') return Date.now() - mtimeMs < BIRTH_MS;
  return code !== 'ECONNREFUSED';
}
