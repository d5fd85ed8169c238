/**
 * The C library's functions that Node does not offer and an OSTree repository cannot be written without: extended
 * attributes, linking of unnamed files, open-file-description locks, `syncfs`, bare system calls. Loaded on first use, so that a process
 * which only prints help does not pay for it.
 */
import koffi from 'koffi';
import { getSystemErrorMap } from 'node:util';

type Call<Arguments extends unknown[]> = ((...parameters: Arguments) => number) & {
  async: (...parameters: [...Arguments, (error: Error | null, result: number) => void]) => void;
};

interface Libc {
  readonly fsetxattr: Call<[fd: number, name: string, value: Buffer, size: number, flags: number]>;
  readonly fgetxattr: Call<[fd: number, name: string, value: Buffer | null, size: number]>;
  readonly flistxattr: Call<[fd: number, list: Buffer | null, size: number]>;
  readonly lsetxattr: Call<[path: string, name: string, value: Buffer, size: number, flags: number]>;
  readonly lgetxattr: Call<[path: string, name: string, value: Buffer | null, size: number]>;
  readonly llistxattr: Call<[path: string, list: Buffer | null, size: number]>;
  readonly linkat: Call<[fromDirectory: number, from: string, toDirectory: number, to: string, flags: number]>;
  readonly fcntl: Call<[fd: number, command: number, lock: Buffer]>;
  readonly syncfs: Call<[fd: number]>;
  readonly syscall: Call<[number: number, first: number, second: number, third: number]>;
}

let loaded: Libc | undefined;

/** The functions, bound once per thread. */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

function load(): Libc {
  // No path: the C library, glibc or musl, that this process already runs on.
  const library = koffi.load(null);
  const bind = (declaration: string): never => library.func(declaration) as never;
  return {
    fsetxattr: bind('int fsetxattr(int fd, const char *name, const uint8_t *value, size_t size, int flags)'),
    fgetxattr: bind('long fgetxattr(int fd, const char *name, _Out_ uint8_t *value, size_t size)'),
    flistxattr: bind('long flistxattr(int fd, _Out_ uint8_t *list, size_t size)'),
    lsetxattr: bind('int lsetxattr(const char *path, const char *name, const uint8_t *value, size_t size, int flags)'),
    lgetxattr: bind('long lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)'),
    llistxattr: bind('long llistxattr(const char *path, _Out_ uint8_t *list, size_t size)'),
    linkat: bind('int linkat(int fromDirectory, const char *from, int toDirectory, const char *to, int flags)'),
    fcntl: bind('int fcntl(int fd, int command, _Inout_ uint8_t *lock)'),
    syncfs: bind('int syncfs(int fd)'),
    // It is variadic in C; where Linux runs, integers are passed in the same way.
    syscall: bind('long syscall(long number, long first, long second, long third)'),
  };
}

/** The error of the call that has just failed in this thread, in the shape that Node's own errors have. */
export function lastError(call: string, path?: string): NodeJS.ErrnoException {
  const errno = koffi.errno();
  const [code, description] = getSystemErrorMap().get(-errno) ?? ['UNKNOWN', `error ${errno}`];
  const subject = path === undefined ? '' : ` '${path}'`;
  return Object.assign(new Error(`${code}: ${description}, ${call}${subject}`), {
    code,
    errno: -errno,
    syscall: call,
    ...(path !== undefined && { path }),
  });
}
